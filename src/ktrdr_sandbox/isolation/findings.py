"""What a rule yields: edits of the override, refusals and notices, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ktrdr_sandbox.isolation.document import Entry, Tag
from ktrdr_sandbox.isolation.result import Change, Notice, Refusal


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
    after: str = "",
    tag: Tag = "",
) -> Edit:
    """An edit that is one change. The reason is the comment in the override, too."""
    change = change_at(path, before=before, after=after, reason=reason)
    return Edit(path, Entry(value, reason, tag), (change,))


def reset(path: tuple[str, ...], reason: str, *, before: str) -> Edit:
    """An edit that takes a key out of the merged model."""
    return edit(path, None, reason, before=before, tag="!reset")


def change_at(path: tuple[str, ...], *, before: str, after: str, reason: str) -> Change:
    """A change named by its place: `services.web.ports` is `ports` of `web`."""
    service, keys = (path[1], path[2:]) if path[0] == "services" else (None, path)
    return Change(service=service, key=".".join(keys), before=before, after=after, reason=reason)
