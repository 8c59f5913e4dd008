"""The override as YAML text that a person can read.

Written out directly: loading a general YAML library takes longer than all of isolation, and writing
one override with it as long again (measured: 40 and 45 ms, against 2 here); and the document is a
plain tree of mappings, lists and scalars. Every string value is double-quoted, so that none is read
as a number, a date, a boolean of YAML 1.1 or a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation.document import Entry
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Isolation

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_PLAIN: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that JSON leaves as they are and YAML does not take, or takes for a line's end."""

_INDENT: Final = "  "


def render(isolation: Isolation, request: IsolationRequest) -> str:
    """The text of the override: a header, then every entry with its reason above it."""
    lines = [*_header(isolation, request), *_mapping(isolation.override, "")]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A string in double quotes, as YAML reads back exactly."""
    return _UNSAFE.sub(_escaped, json.dumps(text, ensure_ascii=False))


def _header(isolation: Isolation, request: IsolationRequest) -> Iterator[str]:
    instance = request.instance
    yield f"# Instance {_one_line(instance.id)}, slot {instance.slot}: {_one_line(instance.path)}"
    yield "#"
    yield "# Laid over the checkout's own Compose files, which stay as they are. Made anew by every"
    yield "# `ktrdr-sandbox up` from what those files say then: edits here are lost."
    for notice in isolation.notices:
        about = f"{notice.service}: " if notice.service else ""
        yield f"# Note: {_one_line(about + notice.text)}"
    yield ""


def _mapping(node: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in node.items():
        entry = item if isinstance(item, Entry) else Entry(item)
        if entry.comment:
            yield f"{indent}# {_one_line(entry.comment)}"
        yield from _value(f"{indent}{_key(key)}:", entry, indent + _INDENT)


def _sequence(node: list[Any], indent: str) -> Iterator[str]:
    for item in node:
        entry = item if isinstance(item, Entry) else Entry(item)
        if entry.comment:
            yield f"{indent}# {_one_line(entry.comment)}"
        if isinstance(entry.value, dict) and entry.value:
            first, *rest = _mapping(entry.value, indent + _INDENT)
            yield f"{indent}- {first.lstrip(' ')}"
            yield from rest
        else:
            yield from _value(f"{indent}-", entry, indent + _INDENT)


def _value(head: str, entry: Entry, indent: str) -> Iterator[str]:
    """A value after its key or dash: beside it when it is short, below it when it is not."""
    head = f"{head} {entry.tag}" if entry.tag else head
    if isinstance(entry.value, dict) and entry.value:
        yield head
        yield from _mapping(entry.value, indent)
    elif isinstance(entry.value, list) and entry.value:
        yield head
        yield from _sequence(entry.value, indent)
    else:
        yield f"{head} {_scalar(entry.value)}"


def _scalar(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _key(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_PLAIN:
        return key
    return quoted(key)


def _one_line(text: object) -> str:
    """Text fit for a comment: a line's end in it would end the comment."""
    return quoted(str(text))[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"
