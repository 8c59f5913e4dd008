"""Command lines that nobody would type: whatever they are, an answer in the promised form."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from ktrdr_sandbox.cli import error_table
from ktrdr_sandbox.cli.app import application, run
from tests.cli.docker_scripts import docker_script
from tests.support import documents
from tests.support.world import World

LINES: Final = 200
CHUNKS: Final = 8
IN_PROCESSES: Final = 6

NO_ENGINE: Final = "echo 'Cannot connect to the Docker daemon at unix:///nowhere.' >&2; exit 1"

JUNK: Final = (
    *("", " ", "-", "--", "-5", "-0", "0", "3", "11", "1e9", "nan", "99999999999999999999", "-x"),
    *(
        "é",
        "日本語",
        "\u202eabc",
        "\udcff\udcfe",
        "x\ny",
        "\t",
        "\x1b[31m",
        "\x07",
        "{}",
        "%s",
        "[red]",
    ),
    *("a" * 5000, "ä" * 200, "a/" * 600, ".", "..", "../x", "*", "$(false)", ";", "'", '"', "\\"),
    *("feat-x", "ktrdr--feat-x", "FEAT-X", "ktrdr--", "HEAD", "@{-1}", "feat-x.lock", "main"),
    *("=", "--=", "--json=1", "--timeout=5", "-qv", "-q", "-vh", "NAME=VALUE", "--no-such", "---"),
    *("http://", "file:///dev/null", "backend,workers", ",", "list", "up"),
)


def commands() -> dict[tuple[str, ...], list[str]]:
    """Every command's words, and its options."""
    root: Any = typer.main.get_command(application())
    return dict(_below((), root))


def _below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    options = [name for one in command.params for name in one.opts if name.startswith("-")]
    yield words, options
    for name, inner in getattr(command, "commands", {}).items():
        yield from _below((*words, name), inner)


def command_line(dice: random.Random) -> tuple[list[str], bool]:
    """One line, and whether it asks for JSON: never where that could be an option's value."""
    known = commands()
    words = dice.choice(list(known)) if dice.random() < 0.9 else (dice.choice(JUNK),)
    every = [option for options in known.values() for option in options]
    rest = []
    for _ in range(dice.randrange(6)):
        kind = dice.random()
        if kind < 0.5 and known.get(words):
            rest.append(dice.choice(known[words]))
        elif kind < 0.6:
            rest.append(dice.choice(every))
        else:
            rest.append(dice.choice(JUNK))
    before = [dice.choice(["-q", "-v", "--json"])] if dice.random() < 0.2 else []
    asks = dice.random() < 0.5
    after = ["--json"] if asks else []
    # A word that is no command may be one that takes everything after it: `--`.
    wants = "--json" in before or (asks and "--" not in words)
    return [*before, *words, *after, *rest], wants


def tools(world: World) -> dict[str, str]:
    """Nothing on PATH that `run` could do harm with: a docker without an engine, and git."""
    docker_script(world, NO_ENGINE)
    folder = world.folder / "bin"
    (folder / "git").symlink_to(shutil.which("git") or "git")
    return {"PATH": str(folder)}


def own_statuses(words: list[str]) -> set[int]:
    own = [entry.status_of for entry in error_table.entries().values()]
    return {status for table in own for name, status in table.items() if name in words}


def hold_against_the_promise(
    line: list[str], status: int, stdout: str, stderr: str, *, json_wanted: bool
) -> None:
    shown = f"{line!r} -> {status}\n{stdout}{stderr}"
    assert "Traceback" not in stdout + stderr, shown
    assert status in {1, *error_table.MEANING, *own_statuses(line)}, shown
    assert status != error_table.INTERNAL, shown
    assert status != error_table.INTERRUPTED, f"it asked a question: {shown}"
    if json_wanted:
        assert stderr == "", shown
        assert stdout.count("\n") == 1, shown
        document = json.loads(stdout)
        documents.check(document)
        assert document["ok"] is (status == 0), shown


def run_here(line: list[str]) -> tuple[int, str, str]:
    """In this process, with streams as a pipe has them."""
    out, err = io.BytesIO(), io.BytesIO()
    with (
        io.TextIOWrapper(out, "utf-8", "backslashreplace", newline="") as stdout,
        io.TextIOWrapper(err, "utf-8", "backslashreplace", newline="") as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        status = run(line)
        stdout.flush()
        stderr.flush()
        return status, out.getvalue().decode(), err.getvalue().decode()


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_any_command_line(world: World, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in tools(world).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KTRDR_HOME", str(world.home))
    monkeypatch.chdir(world.repository.root)
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run_here(["create", "feat-x"])[0] == 0
        dice = random.Random(seed)
        for _ in range(LINES // CHUNKS):
            line, json_wanted = command_line(dice)
            hold_against_the_promise(line, *run_here(line), json_wanted=json_wanted)


def test_any_command_line_as_a_process(world: World) -> None:
    engine = tools(world)
    dice = random.Random("processes")
    for _ in range(IN_PROCESSES):
        line, json_wanted = command_line(dice)
        done = world.run(*line, env=engine)
        hold_against_the_promise(
            line, done.exit_code, done.stdout, done.stderr, json_wanted=json_wanted
        )
