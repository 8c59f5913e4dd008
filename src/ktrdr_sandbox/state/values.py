"""Frozen dataclasses to JSON-ready values and back: registry entries, plans, records."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses and mappings as dicts, sequences as lists, paths as text."""
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], value: Any) -> T:
    """The reverse of `to_json`; unknown fields are ignored, missing ones take their default.

    Raises ValueError, which names the field that does not fit.
    """
    return cast("T", _parse(kind, value, ""))


def _parse(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, name)
    if origin in (Union, types.UnionType):
        (present,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _parse(present, value, name)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = arguments if arguments[-1] is not ... else [arguments[0]] * len(value)
        return tuple(_parse(*pair, name) for pair in zip(kinds, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {arguments[0](key): _parse(arguments[1], item, name) for key, item in value.items()}
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    if kind is Any or (kind in (str, int, bool) and type(value) is kind):
        return value
    raise ValueError(f"{name or 'it'!r} is not valid: {value!r}")


def _record(kind: Any, value: Mapping[str, Any], within: str) -> Any:
    hints, known = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        name = f"{within}.{field.name}" if within else field.name
        if field.name in value:
            known[field.name] = _parse(hints[field.name], value[field.name], name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"there is no {name!r}")
    return kind(**known)
