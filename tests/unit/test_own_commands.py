"""The program's own commands in messages: a name in each, where the command line takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.cli.app import application

GATE = Path(own_commands.__file__).with_name("gate")


def parameters(command: str) -> list[Any]:
    """The command's arguments and options, as Typer has them."""
    found: Any = typer.main.get_command(application())
    for word in command.split():
        found = found.commands[word]
    return list(found.params)


def first_argument(command: str) -> str:
    arguments = [one for one in parameters(command) if one.param_type_name == "argument"]
    return str(arguments[0].name)


def test_the_name_comes_before_the_options() -> None:
    assert own_commands.on("feat-x", "up") == "ktrdr-sandbox up feat-x"
    assert own_commands.on("feat-x", "move", "--slot N") == "ktrdr-sandbox move feat-x --slot N"
    assert own_commands.on("feat-x", "config show") == "ktrdr-sandbox config show feat-x"


@pytest.mark.parametrize("command", get_args(own_commands.NameFirst))
def test_these_take_the_name_first(command: str) -> None:
    assert first_argument(command) == "name"


def test_logs_takes_it_as_an_option() -> None:
    assert own_commands.logs("feat-x", "db") == "ktrdr-sandbox logs db -i feat-x"
    assert first_argument("logs") == "services"
    assert ["--instance", "-i"] in [option.opts for option in parameters("logs")]


@pytest.mark.parametrize(
    "path", sorted(GATE.rglob("*.py")), ids=lambda path: str(path.relative_to(GATE))
)
def test_the_gate_spells_none_itself(path: Path) -> None:
    """All that it tells is about one instance, so each command has to name it."""
    assert "ktrdr-sandbox " not in path.read_text(encoding="utf-8")
