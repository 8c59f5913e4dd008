"""Takes secrets out of text before anything shows or stores it. The one place that does."""

from __future__ import annotations

import re
from typing import Any, Final

HIDDEN: Final = "***"

_NAME_OF_ONE: Final = (
    r"[\w.-]*(?:password|passwd|secret|token|api[_-]?key|private[_-]?key|credential)[\w.-]*"
)
_QUOTE: Final = r"\\*[\"']"
"""A quote, escaped as often as JSON within JSON does it."""
_ASSIGNMENT: Final = re.compile(
    rf"(?P<name>(?:{_QUOTE})?{_NAME_OF_ONE}(?:{_QUOTE})?)(?P<sep>\s*[=:]\s*)"
    rf"(?:(?P<open>{_QUOTE})[\s\S]*?(?P=open)|(?:{_QUOTE})?[^\s,;&\"'}}]+)",
    re.IGNORECASE,
)
_AUTHORIZATION: Final = re.compile(
    r"(?P<scheme>\bauthorization\b\W{1,6}(?:\w+ +)?|\bbearer +)[\w.~+/=-]{8,}", re.IGNORECASE
)
_URL: Final = re.compile(r"(?P<scheme>[a-z][\w+.-]*://[^\s:/@]*):[^\s@/]+@", re.I)
_KEY_OF_ONE: Final = re.compile(_NAME_OF_ONE, re.IGNORECASE)


def redact(text: str) -> str:
    """Hide values of `..PASSWORD=..`, `"token": ".."`, `Bearer ..`, and passwords in URLs."""
    text = _URL.sub(lambda m: f"{m['scheme']}:{HIDDEN}@", text)
    text = _AUTHORIZATION.sub(lambda m: m["scheme"] + HIDDEN, text)
    return _ASSIGNMENT.sub(lambda m: f"{m['name']}{m['sep']}{HIDDEN}", text)


def redact_all(value: Any) -> Any:
    """The same through nested JSON-ready values; what stands under a secret's name goes whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: HIDDEN
            if _KEY_OF_ONE.fullmatch(str(key)) and isinstance(item, (str, dict, list, tuple))
            else redact_all(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_all(item) for item in value]
    return value
