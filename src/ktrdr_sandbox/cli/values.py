"""Values that are right as the command line has them, kept from Typer's conversion.

From 0.26 on Typer converts by pydantic, text and what was not given included. Loading that takes
longer than all the rest of a quick command.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, get_type_hints

_TEXT: Final = (str, str | None)
_TEXTS: Final = (list[str], list[str] | None)


def keep_plain(parameters: Sequence[Any], function: Callable[..., Any] | None) -> None:
    """Leave what is text, or was not given, out of the conversion of a function's parameters.

    The rest, wrong values with their messages included, is Typer's as ever.
    """
    hints = get_type_hints(inspect.unwrap(function)) if function is not None else {}
    for one in parameters:
        if one.callback is None:
            kind = hints.get(one.name)
            one.process_value = functools.partial(
                _value, one, one.process_value, text=kind in _TEXT, texts=kind in _TEXTS
            )


def _value(
    parameter: Any,
    convert: Callable[[Any, Any], Any],
    context: Any,
    value: Any,
    *,
    text: bool,
    texts: bool,
) -> Any:
    if value is None and not parameter.required:
        return () if texts else None
    if text and isinstance(value, str):
        return value
    if texts and value and isinstance(value, (tuple, list)) and _all_text(value):
        return tuple(value)
    return convert(context, value)


def _all_text(values: Sequence[Any]) -> bool:
    return all(isinstance(one, str) for one in values)
