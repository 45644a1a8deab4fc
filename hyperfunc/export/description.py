"""Target networks and window layouts as plain data, as the header of a file holds them."""

from typing import Any

from hyperfunc.experiment import from_plain, to_plain
from hyperfunc.export.container import Invalid
from hyperfunc.networks import Target


def describe_target(value: Target) -> dict[str, Any]:
    """The name of its class and its fields."""
    return to_plain(value, Target)


def build_target(description: dict[str, Any]) -> Target:
    """Make a target network of its description.

    Raises:
        Invalid: no target network has it.
    """
    return build(Target, description, "target")


def build(kind: Any, values: dict[str, Any], what: str) -> Any:
    """Make a component of its description.

    Raises:
        Invalid: a field is unknown or of another type, or its value is refused.
    """
    try:
        return from_plain(values, kind, name=what)
    except ValueError as error:
        raise Invalid(str(error)) from None
