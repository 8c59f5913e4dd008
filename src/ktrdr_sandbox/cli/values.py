"""Values that are right as the command line has them, kept from Typer's conversion.

From 0.29 on Typer converts by pydantic, text and what was not given included. Loading that takes
longer than all the rest of a quick command.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints


def keep_plain(parameters: Sequence[Any], function: Callable[..., Any] | None) -> None:
    """Leave text, words of a choice, paths and what was not given out of the conversion of a
    function's parameters.

    The rest, wrong values with their messages included, is Typer's as ever.
    """
    hints = get_type_hints(inspect.unwrap(function)) if function is not None else {}
    for one in parameters:
        if one.name in hints and one.callback is None:
            kind = _given(hints[one.name])
            one.process_value = functools.partial(_value, one, one.process_value, kind)


def _given(kind: Any) -> Any:
    """The type of a value that is given: without `| None`."""
    parts = [one for one in get_args(kind) if one is not type(None)]
    return parts[0] if type(None) in get_args(kind) else kind


def _value(
    parameter: Any, convert: Callable[[Any, Any], Any], kind: Any, context: Any, value: Any
) -> Any:
    if value is None and not parameter.required:
        return () if get_origin(kind) is list else None
    if isinstance(value, str) and _is_right(kind, value):
        return value
    if isinstance(value, str) and kind is Path and _may_be_read(value):
        return Path(value)
    if kind in (int, float) and type(value) is kind:  # a default
        return value
    if kind == list[str] and isinstance(value, (tuple, list)) and value and _are_texts(value):
        return tuple(value)
    return convert(context, value)


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(one, str) for one in values)


def _may_be_read(value: str) -> bool:
    """What Typer asks of a path of which nothing more is said, as of all of ours."""
    return os.access(value, os.R_OK) or not os.path.lexists(value)


def _is_right(kind: Any, value: str) -> bool:
    return kind is str or (get_origin(kind) is Literal and value in get_args(kind))
