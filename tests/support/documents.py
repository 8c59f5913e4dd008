"""What the program prints with --json, held against the schema that ships."""

from __future__ import annotations

import functools
import json
from typing import Any

from jsonschema import Draft202012Validator

from ktrdr_sandbox.console.results import SCHEMA_FILE

HOW_TO_ADD = (
    "Describe its data in scripts/result_schema.py, then run 'python -m scripts.generate' "
    "(docs/json.md)."
)


@functools.cache
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def known_commands() -> frozenset[str]:
    schema: Any = validator().schema
    return frozenset(schema["properties"]["command"]["enum"])


def check(document: Any) -> None:
    """Fails, naming each place, when a document is not as the schema says."""
    command = document.get("command")
    assert command in known_commands(), f"The schema has no command '{command}'. {HOW_TO_ADD}"
    problems = [line for error in validator().iter_errors(document) for line in _lines(error)]
    assert not problems, (
        f"The document of '{command}' is not as the schema says:\n"
        + "\n".join(problems)
        + f"\nA key that is new? {HOW_TO_ADD}"
    )


def _lines(error: Any) -> list[str]:
    """One line for each thing that is wrong; within alternatives those of the nearest one."""
    if not error.context:
        return [f"  {error.json_path}: {error.message[:300]}"]
    by_branch: dict[Any, list[Any]] = {}
    for inner in error.context:
        by_branch.setdefault(inner.schema_path[0], []).append(inner)
    nearest = min(by_branch.values(), key=len)
    return [line for inner in nearest for line in _lines(inner)]
