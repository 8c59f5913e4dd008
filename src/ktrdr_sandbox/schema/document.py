"""The whole schema: the envelope, and the data of each command in it."""

from __future__ import annotations

import json
from typing import Any, Final

from ktrdr_sandbox.console.output import SCHEMA
from ktrdr_sandbox.schema.commands import DATA, ON_FAILURE
from ktrdr_sandbox.schema.parts import PARTS
from ktrdr_sandbox.schema.shapes import FLAG, NOTHING, TEXT, Shape, about, either, many, part

_WIDTH: Final = 96


def document() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of every document that `--json` prints."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ktrdr-sandbox:1",
        "title": "What ktrdr-sandbox prints with --json",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "command": about("'' when the command line names none", {"enum": [*sorted(DATA)]}),
            "ok": FLAG,
            "data": {"type": "object"},
            "messages": about(
                "what was told on the way; with --verbose also each command of Docker and git",
                many(TEXT),
            ),
            "error": either({"type": "null"}, part("error")),
        },
        "required": ["schema", "command", "ok", "data", "messages", "error"],
        "additionalProperties": False,
        "if": {"properties": {"ok": {"const": True}}},
        "then": {"properties": {"error": {"type": "null"}}},
        "else": {"properties": {"error": part("error")}},
        "allOf": [_data_of(command) for command in DATA],
        "$defs": {**PARTS, **{f"data.{name}": shape for name, shape in DATA.items() if name}},
    }


def text() -> str:
    """The file's content."""
    return _pretty(document(), "") + "\n"


def _pretty(value: Any, indent: str) -> str:
    """JSON in which whatever fits on a line is on one."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= _WIDTH:
        return line
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(item, inner)}" for key, item in value.items()]
    else:
        parts = [_pretty(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def _data_of(command: str) -> Shape:
    succeeded = part(f"data.{command}") if command else NOTHING
    failed = either(NOTHING, ON_FAILURE[command]) if command in ON_FAILURE else NOTHING
    return {
        "if": {"properties": {"command": {"const": command}}},
        "then": {
            "if": {"properties": {"ok": {"const": True}}},
            "then": {"properties": {"data": succeeded}},
            "else": {"properties": {"data": failed}},
        },
    }
