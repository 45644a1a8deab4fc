"""Components as plain data (JSON types), and back.

A component is a frozen dataclass whose fields are its hyperparameters: a Flax module, a target
network, a window layout. Where a field may hold one of several classes (a union such as `Target`),
the data name the class as "type".
"""

import typing
from typing import Any, Literal

import cattrs
import flax.linen as nn
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hyperfunc.networks import Backbone, FixedScale, Hypernetwork, Target

Network = Hypernetwork | FixedScale
"""What can be trained."""

MAX_NUMBER = 1 << 16
"""The largest number, up to its sign, that `from_plain` accepts."""

MAX_ITEMS = 64
"""The longest list that `from_plain` accepts."""


def to_plain(component: Any, kind: Any) -> dict[str, Any]:
    """Turn a component into plain data (JSON types).

    ``kind`` is its class, or the union that it belongs to: the data then name the class as "type".

    Raises:
        ValueError: the component, or one inside it, does not belong to its union.
    """
    return _CONVERTER.unstructure(component, kind)


def from_plain(data: Any, kind: Any, *, name: str = "data") -> Any:
    """Rebuild a component from plain data of unknown origin, such as a file from the internet.

    Every value must have the type of its field; nothing is converted. Numbers and lists are limited
    to `MAX_NUMBER` and `MAX_ITEMS`, so that a file cannot ask for any amount of memory. Errors call
    the data ``name``.

    Raises:
        ValueError: a field is unknown, or a value is refused. The message is one line.
    """
    _check_limits(data, name)
    return structure(data, kind, name)


def _check_limits(data: Any, name: str) -> None:
    if isinstance(data, dict):
        for key, value in data.items():
            _check_limits(value, f"{name}.{key}")
    elif isinstance(data, list):
        if len(data) > MAX_ITEMS:
            raise ValueError(f"{name}: a list of {len(data)} items; at most {MAX_ITEMS} are read")
        for value in data:
            _check_limits(value, name)
    elif isinstance(data, (int, float)) and not -MAX_NUMBER <= data <= MAX_NUMBER:
        raise ValueError(f"{name}: {data} is not between -{MAX_NUMBER} and {MAX_NUMBER}")


def structure(data: Any, kind: Any, name: str) -> Any:
    """Rebuild a component from plain data of our own, without limits; otherwise as `from_plain`.

    Fields that are missing get their defaults.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{name}: {data!r:.80} is no mapping from fields to values")
    try:
        return _CONVERTER.structure(data, kind)
    except (cattrs.BaseValidationError, ValueError) as error:
        reasons = cattrs.transform_error(error, path=name, format_exception=_explain)
        raise ValueError("; ".join(reasons)) from error


def _explain(error: BaseException, kind: Any) -> str:
    """Say in one line what is wrong with a value."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return cattrs.v.format_exception(error, kind)
    return str(error)


def _structure_value(value: Any, kind: type) -> Any:
    """Accept an integer as a float, and convert nothing else: "3", 3.7 and True are no integers."""
    is_accepted = type(value) is kind or (kind is float and type(value) is int)
    if not is_accepted:
        wanted = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]
        raise ValueError(f"{value!r:.80} is not {wanted}")
    return kind(value)


def _structure_choice(value: Any, kind: Any) -> Any:
    choices = typing.get_args(kind)
    if value not in choices:
        raise ValueError(f"{value!r:.80} is none of {', '.join(map(repr, choices))}")
    return value


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _structure_value)
    converter.register_structure_hook_func(
        lambda kind: typing.get_origin(kind) is Literal, _structure_choice
    )
    linens_own: Any = {"parent": override(omit=True), "name": override(omit=True)}

    def is_module(cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, nn.Module)

    converter.register_unstructure_hook_factory(
        is_module, lambda cls: make_dict_unstructure_fn(cls, converter, **linens_own)
    )
    converter.register_structure_hook_factory(
        is_module,
        lambda cls: make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True, **linens_own
        ),
    )
    return converter


_CONVERTER = _make_converter()


def tag_union(union: Any) -> None:
    """Let plain data name the class of a component as "type".

    `cattrs.strategies.configure_tagged_union` does the same, but its errors name Python's internals
    where the data are damaged.
    """
    classes = {cls.__name__: cls for cls in typing.get_args(union)}

    def build(data: Any, _: Any) -> Any:
        if not isinstance(data, dict) or "type" not in data:
            raise ValueError(f"{data!r:.80} names no type: give one of {', '.join(classes)}")
        fields = dict(data)
        name = fields.pop("type")
        if not isinstance(name, str) or name not in classes:
            raise ValueError(f"the type {name!r:.80} is none of {', '.join(classes)}")
        return _CONVERTER.structure(fields, classes[name])

    def describe(component: Any) -> dict[str, Any]:
        cls = type(component)
        if cls not in classes.values():
            raise ValueError(
                f"a checkpoint cannot name the class {cls.__name__}: add it to the union at the "
                f"end of the module that defines {', '.join(classes)}"
            )
        return {"type": cls.__name__, **_CONVERTER.unstructure(component, cls)}

    _CONVERTER.register_structure_hook(union, build)
    _CONVERTER.register_unstructure_hook(union, describe)


for _union in (Backbone, Target, Network):
    tag_union(_union)
