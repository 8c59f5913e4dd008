"""The program's own commands in messages: a name in each, where the command line takes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.cli import grammar

GATE = Path(own_commands.__file__).with_name("gate")


def grammar_of(command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(grammar.as_text())
    for word in command.split():
        found = found["commands"][word]
    return found


def test_the_name_comes_before_the_options() -> None:
    assert own_commands.on("feat-x", "up") == "ktrdr-sandbox up feat-x"
    assert own_commands.on("feat-x", "move", "--slot N") == "ktrdr-sandbox move feat-x --slot N"
    assert own_commands.on("feat-x", "config show") == "ktrdr-sandbox config show feat-x"


@pytest.mark.parametrize("command", get_args(own_commands.NameFirst))
def test_these_take_the_name_first(command: str) -> None:
    assert grammar_of(command)["arguments"] == [{"kind": "instance"}]


def test_logs_takes_it_as_an_option() -> None:
    assert own_commands.logs("feat-x", "db") == "ktrdr-sandbox logs db -i feat-x"
    assert [first["kind"] for first in grammar_of("logs")["arguments"]] == ["service"]
    assert ["--instance", "-i"] in [option["names"] for option in grammar_of("logs")["options"]]


@pytest.mark.parametrize(
    "path", sorted(GATE.rglob("*.py")), ids=lambda path: str(path.relative_to(GATE))
)
def test_the_gate_spells_none_itself(path: Path) -> None:
    """All that it tells is about one instance, so each command has to name it."""
    assert "ktrdr-sandbox " not in path.read_text(encoding="utf-8")
