"""Target networks and layouts of windows as plain data, each field checked on the way back."""

import dataclasses
import types
import typing
from typing import Any, Literal

from hyperfunc.export.container import Invalid, check_integer, show
from hyperfunc.networks import Target

_MAX_WIDTH = 1 << 16
"""The largest number that the description of a target network may hold."""


def describe_target(value: Target) -> dict[str, Any]:
    """The name of its class and its fields."""
    return {"type": type(value).__name__, **dataclasses.asdict(value)}


def build_target(description: dict[str, Any]) -> Target:
    """Make a target network of its description.

    Raises:
        Invalid: no target network has it.
    """
    kinds = {kind.__name__: kind for kind in typing.get_args(Target)}
    kind = description.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise Invalid(f"target: {show(kind)} is none of {', '.join(kinds)}")
    fields = {name: value for name, value in description.items() if name != "type"}
    return build(kinds[kind], fields, "target")


def build(kind: type, values: dict[str, Any], what: str) -> Any:
    """Make a frozen dataclass of plain fields, each checked against its annotation.

    Args:
        kind: the dataclass.
        values: by name, all of its fields.
        what: it is, for the error.

    Raises:
        Invalid: a field is missing, unknown or of another type, or its value is refused.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    if set(values) != set(names):
        raise Invalid(f"{what}: it must have the fields {', '.join(names)}; got {show(values)}")
    try:
        return kind(**{name: _field(values[name], hints[name], what) for name in names})
    except ValueError as error:
        raise Invalid(f"{what}: {error}") from None


def _field(value: Any, hint: Any, what: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int:
        return check_integer(value, what, 0, _MAX_WIDTH)
    if hint is float and type(value) in (int, float) and abs(value) <= _MAX_WIDTH:
        return float(value)
    if typing.get_origin(hint) is Literal and isinstance(value, str):
        if value in typing.get_args(hint):
            return value
    if isinstance(hint, types.GenericAlias) and isinstance(value, list) and len(value) <= 64:
        return tuple(check_integer(item, what, 0, _MAX_WIDTH) for item in value)
    raise Invalid(f"{what}: {show(value)} is no value that it can have")
