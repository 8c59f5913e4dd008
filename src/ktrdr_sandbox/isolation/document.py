"""The override as data: nested entries, each with its reason, before it becomes YAML text."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Tag = Literal["", "!override", "!reset"]


class Entry(NamedTuple):
    """A value of the override with the merge tag Compose must see and the reason for it."""

    value: Any
    comment: str = ""
    tag: Tag = ""


Document = dict[str, Any]
"""Nested dictionaries and lists of scalars, where any value may be wrapped in an `Entry`."""


def reset(comment: str) -> Entry:
    """Take the key out of the merged model."""
    return Entry(None, comment, "!reset")


def replace(value: Any, comment: str) -> Entry:
    """Put `value` in place of what the base file has, instead of merging it in."""
    return Entry(value, comment, "!override")


def plain(node: Any) -> Any:
    """The same nested values without reasons; `{tag: value}` where a merge tag matters."""
    if isinstance(node, Entry):
        value = plain(node.value)
        return {node.tag: value} if node.tag else value
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node
