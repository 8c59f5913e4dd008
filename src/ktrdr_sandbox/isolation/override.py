"""The override: edits with their reasons, and the YAML text that a person can read.

The document is nested dictionaries and lists of scalars, where any value may be wrapped in an
`Entry`. It is written out directly: loading a general YAML library takes longer than all of
isolation (measured: 40 ms against 2). Every string is double-quoted, so that none is read as a
number, a date, a boolean of YAML 1.1 or a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from ktrdr_sandbox.isolation.request import (
    Change,
    IsolatedStack,
    IsolationRequest,
    Notice,
    Refusal,
)

Tag = Literal["", "!override", "!reset"]


class Entry(NamedTuple):
    """A value of the override, with the reason for it and the merge tag Compose must see."""

    value: Any
    comment: str = ""
    tag: Tag = ""


class Edit(NamedTuple):
    """One entry of the override, at a path of keys, and what it changes."""

    path: tuple[str, ...]
    entry: Entry
    changes: tuple[Change, ...] = ()


Finding = Edit | Refusal | Notice
Findings = Iterator[Finding]


def edit(
    path: tuple[str, ...],
    value: Any,
    reason: str,
    *,
    before: str = "",
    after: str | None = None,
    tag: Tag = "",
) -> Edit:
    """An edit that is one change, to `value` unless `after` tells it better."""
    if after is None:
        after = ", ".join(value) if isinstance(value, list) else str(value)
    change = change_at(path, before=before, after=after, reason=reason)
    return Edit(path, Entry(value, reason, tag), (change,))


def reset(path: tuple[str, ...], reason: str, *, before: str) -> Edit:
    """An edit that takes a key out of the merged model."""
    return edit(path, None, reason, before=before, after="", tag="!reset")


def change_at(path: tuple[str, ...], *, before: str, after: str, reason: str) -> Change:
    """A change named by its place: `services.web.ports` is `ports` of `web`."""
    service, keys = (path[1], path[2:]) if path[0] == "services" else (None, path)
    return Change(service=service, key=".".join(keys), before=before, after=after, reason=reason)


_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_PLAIN: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# Characters that JSON leaves as they are and YAML does not take, or takes for a line's end.
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def render(isolation: IsolatedStack, request: IsolationRequest) -> str:
    """The text of the override: a header, then every entry with its reason above it."""
    instance = request.instance
    lines = [
        f"# Instance {_one_line(instance.id)}, slot {instance.slot}: {_one_line(instance.path)}",
        "#",
        "# Laid over the checkout's own Compose files, which stay as they are. Made anew by every",
        "# `ktrdr-sandbox up` from what those files say then: edits here are lost.",
    ]
    for notice in isolation.notices:
        about = f"{notice.service}: " if notice.service else ""
        lines.append(f"# Note: {_one_line(about + notice.text)}")
    return "\n".join([*lines, "", *_mapping(isolation.override, "")]) + "\n"


def _quoted(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", escaped)


def _one_line(text: object) -> str:
    """Text fit for a comment: a line's end in it would end the comment."""
    return _quoted(str(text))[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def _mapping(node: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in node.items():
        is_plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_PLAIN
        yield from _item(f"{indent}{key if is_plain else _quoted(key)}:", item, indent)


def _item(head: str, item: Any, indent: str) -> Iterator[str]:
    """A value after its key or dash: beside it when it is short, below it when it is not."""
    value, comment, tag = item if isinstance(item, Entry) else Entry(item)
    if comment:
        yield f"{indent}# {_one_line(comment)}"
    head = f"{head} {tag}" if tag else head
    below = f"{indent}  "
    if isinstance(value, dict) and value:
        lines = _mapping(value, below)
        yield f"{head} {next(lines).lstrip(' ')}" if head.endswith("-") else head
        yield from lines
    elif isinstance(value, list) and value:
        yield head
        for element in value:
            yield from _item(f"{below}-", element, below)
    else:
        yield f"{head} {_quoted(value) if isinstance(value, str) else json.dumps(value)}"
