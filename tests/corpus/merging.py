"""Compose's rules for laying one file over another, as far as an override uses them."""

from __future__ import annotations

from typing import Any

from ktrdr_sandbox.isolation.override import Entry


def with_default_names(file: dict[str, Any], project: str) -> dict[str, Any]:
    """A file as Compose resolves it: volumes and networks without a name get the project's."""
    named = {
        section: {
            key: {"name": key if body.get("external") else f"{project}_{key}", **body}
            for key, body in file.get(section, {}).items()
        }
        for section in ("volumes", "networks")
    }
    return {**file, **named}


def merged(base: Any, override: Any) -> Any:
    """Mappings merge by key, a tag replaces or takes out, and anything else takes over."""
    if isinstance(override, Entry):
        if override.tag == "!override":
            return unwrapped(override.value)
        override = override.value
    if not isinstance(override, dict):
        return unwrapped(override)
    result = dict(base or {})
    for key, value in override.items():
        if isinstance(value, Entry) and value.tag == "!reset":
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def unwrapped(node: Any) -> Any:
    """The values of a part of the override, without their reasons."""
    if isinstance(node, Entry):
        return unwrapped(node.value)
    if isinstance(node, dict):
        return {key: unwrapped(value) for key, value in node.items()}
    return [unwrapped(value) for value in node] if isinstance(node, list) else node
