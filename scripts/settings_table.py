"""The table of settings in docs/settings.md, made from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from ktrdr_sandbox.settings import FIELDS, TABLES
from ktrdr_sandbox.settings_sources import HARMLESS, MODEL, is_personal

BEGIN: Final = "<!-- begin: made by scripts/generate.py -->\n"
END: Final = "<!-- end -->\n"


def table() -> str:
    """The settings with what each may be, its default, and who may set it."""
    rows = ["| setting | may be | default | a checkout may set it | |", "|---|---|---|---|---|"]
    rows += [f"| {' | '.join(cells)} |" for cells in _rows()]
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """A document with the table between its two marks made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def _rows() -> Iterator[tuple[str, ...]]:
    schema = MODEL.model_json_schema()
    properties: dict[str, Any] = {}
    for name, body in schema["properties"].items():
        if name in TABLES:
            inner = schema["$defs"][name.capitalize()]["properties"]
            properties |= {f"{name}.{key}": one for key, one in inner.items()}
        else:
            properties[name] = body
    for name in FIELDS:
        body = properties[name]
        yield f"`{name}`", _kind(body), _default(body), _who(name), body.get("description", "")


def _kind(body: dict[str, Any]) -> str:
    if "enum" in body:
        return ", ".join(f"`{one}`" for one in body["enum"])
    if "anyOf" in body:
        kinds = [one for one in body["anyOf"] if one.get("type") != "null"]
        return "a list of words, or of such lists" if len(kinds) > 1 else _kind(kinds[0])
    if body["type"] == "number":
        return "a number" + (" above 0" if "exclusiveMinimum" in body else " from 0")
    names = {"string": "text", "boolean": "`true`, `false`", "array": "a list of texts"}
    return names[body["type"]]


def _default(body: dict[str, Any]) -> str:
    value = body.get("default")
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _who(name: str) -> str:
    if is_personal(name):
        return "no"
    return "yes" if name in HARMLESS else "with approval"
