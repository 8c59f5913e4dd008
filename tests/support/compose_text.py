"""Reads Compose files written as JSON, and the overrides this program writes, and merges them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"(?P<indent> *)(?P<key>\"(?:[^\"\\]|\\.)*\"|[\w.-]+):(?: (?P<rest>.*))?")


@dataclass
class _Tagged:
    """A value with Compose's `!override` or `!reset`."""

    tag: str
    value: Any


def read_compose(texts: Sequence[str]) -> dict[str, Any]:
    """The model of files laid over one another. Raises ValueError for what is no Compose file."""
    model: dict[str, Any] = {}
    for text in texts:
        found = json.loads(text) if text.lstrip().startswith("{") else _read_override(text)
        if not (isinstance(found, dict) and isinstance(found.get("services", {}), dict)):
            raise ValueError("services must be a mapping")  # noqa: TRY004  of the file's content
        model = _merged(model, found)
    return model


def _merged(base: Any, over: Any) -> Any:
    if isinstance(over, _Tagged):
        return None if over.tag == "!reset" else _plain(over.value)
    if isinstance(base, dict) and isinstance(over, dict):
        keys = [*base, *(key for key in over if key not in base)]
        return {
            key: _merged(base.get(key), over[key]) if key in over else base[key] for key in keys
        }
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *_plain(over)]
    return _plain(over)


def _plain(value: Any) -> Any:
    if isinstance(value, _Tagged):
        return None if value.tag == "!reset" else _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _read_override(text: str) -> Any:
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    value, rest = _block(lines, 0)
    if rest:
        raise ValueError(f"cannot read the line {rest[0]!r}")
    return value


def _block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    """The mapping or list that begins with the first line, and the lines after it."""
    if lines and lines[0][indent:].startswith("-"):
        return _list(lines, indent)
    found: dict[str, Any] = {}
    while lines and _depth(lines[0]) == indent:
        match = _LINE.fullmatch(lines[0])
        if match is None:
            raise ValueError(f"cannot read the line {lines[0]!r}")
        key = match["key"]
        name = json.loads(key) if key.startswith('"') else key
        found[name], lines = _after(match["rest"] or "", lines[1:], indent)
    return found, lines


def _list(lines: list[str], indent: int) -> tuple[list[Any], list[str]]:
    found = []
    while lines and _depth(lines[0]) == indent and lines[0][indent:].startswith("-"):
        rest = lines[0][indent + 1 :].lstrip()
        if _LINE.fullmatch(rest) and not rest.startswith(("!", '"', "{", "[")):
            lines = [" " * (indent + 2) + rest, *lines[1:]]
            value, lines = _block(lines, indent + 2)
        else:
            value, lines = _after(rest, lines[1:], indent)
        found.append(value)
    return found, lines


def _after(rest: str, lines: list[str], indent: int) -> tuple[Any, list[str]]:
    tag = ""
    if rest.startswith("!"):
        tag, _, rest = rest.partition(" ")
    if rest:
        value = json.loads(rest)
    elif lines and _depth(lines[0]) > indent:
        value, lines = _block(lines, _depth(lines[0]))
    else:
        value = None
    return (_Tagged(tag, value) if tag else value), lines


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
