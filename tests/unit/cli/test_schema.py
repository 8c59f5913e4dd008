"""The schema and the tables in the docs: complete, and as the code says now."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import typer

from ktrdr_sandbox.cli.app import application
from ktrdr_sandbox.cli.error_table import entries
from ktrdr_sandbox.errors import ErrorCode
from tests.support import documents

DOCUMENT: dict[str, Any] = {
    "schema": "ktrdr-sandbox/1",
    "command": "list",
    "ok": True,
    "data": {"instances": [], "dropped": []},
    "messages": [],
    "error": None,
}
ERROR = {"code": "usage", "message": "No.", "hints": [], "details": {}}


def test_every_command_is_in_it() -> None:
    def names(words: str, command: Any) -> set[str]:
        inner = getattr(command, "commands", {})
        below = (names(f"{words} {key}".strip(), one) for key, one in inner.items())
        return {words}.union(*below)

    missing = names("", typer.main.get_command(application())) - documents.known_commands()
    assert not missing, documents.HOW_TO_ADD


def test_every_code_is_explained() -> None:
    assert set(entries()) == set(get_args(ErrorCode)), "put them into cli/errors.toml"


def test_the_codes_are_the_programs() -> None:
    schema: Any = documents.validator().schema
    assert schema["$defs"]["error"]["properties"]["code"]["enum"] == list(get_args(ErrorCode))


def test_a_document_as_it_should_be() -> None:
    documents.check(DOCUMENT)
    documents.check({**DOCUMENT, "ok": False, "data": {}, "error": ERROR})


def test_an_unknown_command_says_what_to_add() -> None:
    with pytest.raises(AssertionError, match=r"no command 'sing'\. Describe its data in scripts/"):
        documents.check({**DOCUMENT, "command": "sing"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": {"instances": [], "dropped": [], "more": 1}}, r"\$\.data: .*'more'"),
        ({"data": {"instances": []}}, r"\$\.data: 'dropped' is a required property"),
        ({"data": {"instances": [{}], "dropped": []}}, r"\$\.data\.instances\[0\]: 'id'"),
        ({"more": 1}, r"\$: .*'more'"),
        ({"messages": None}, r"\$\.messages: "),
        ({"ok": False}, r"\$\.error: "),
        ({"error": ERROR}, r"\$\.error: "),
        ({"ok": False, "error": ERROR}, r"\$\.data: "),
        ({"ok": False, "data": {}, "error": {**ERROR, "code": "sad"}}, r"\$\.error\.code: 'sad'"),
        ({"ok": False, "data": {}, "error": {**ERROR, "more": 1}}, r"\$\.error: .*'more'"),
    ],
)
def test_what_the_schema_lacks_is_refused_and_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        documents.check({**DOCUMENT, **change})
