"""Every command that takes an instance works from everywhere, by either of its names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ktrdr_sandbox.cli.app import application
from tests.cli.docker_scripts import empty_engine
from tests.support.world import World

OTHER_WORDS = {"move": ("--slot", "7"), "exec": ("a", "true"), "run": ("true",), "open": ("api",)}
"""What a command needs besides the instance."""


def by_instance() -> list[tuple[str, ...]]:
    """How each command is told the instance: as its argument, or with `-i`."""
    found: list[tuple[str, ...]] = []
    program: Any = typer.main.get_command(application())
    for name, command in program.commands.items():
        if name in ("doctor", "create"):
            continue  # these take any name
        if any(one.name == "name" for one in command.params):
            found.append((name,))
        elif any("-i" in one.opts for one in command.params):
            found.append((name, "-i"))
    return found


def test_there_are_such_commands() -> None:
    named = {words[0] for words in by_instance()}
    assert {"up", "down", "destroy", "status", "wait", "logs", "isolate", "move"} <= named


@pytest.mark.parametrize("words", by_instance(), ids=" ".join)
def test_an_unknown_name_is_looked_for_from_the_root(world: World, words: tuple[str, ...]) -> None:
    """It is the name that is at fault, not the place."""
    more = OTHER_WORDS.get(words[0], ())
    refused = world.run(*words, "nobody", *more, cwd=Path("/"))
    assert refused.exit_code == 66, refused
    assert refused.err.splitlines()[0] == "error: There is no instance 'nobody'. Instances: none."


QUICK = (("status",), ("isolate",), ("down",), ("doctor",))
"""Commands that need no stack; the others find their instance in the same place."""


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
@pytest.mark.parametrize("name", ["feat-x", "ktrdr--feat-x"])
def test_either_name_from_the_root_and_from_outside(
    world: World, words: tuple[str, ...], name: str
) -> None:
    world.run("create", "feat-x")
    inside = world.run(*words, cwd=world.path_of("feat-x"), env=empty_engine(world))
    for place in (Path("/"), world.folder):
        outside = world.run(*words, name, cwd=place, env=empty_engine(world))
        assert (outside.exit_code, outside.out) == (inside.exit_code, inside.out), outside


def in_deleted(world: World, *words: str, shell_told: bool) -> subprocess.CompletedProcess[str]:
    """Run from a directory that is no more, as a shell that stood in it would."""
    gone = world.folder / "gone"
    gone.mkdir()
    code = (
        "import os, sys\n"
        f"os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        "from ktrdr_sandbox.__main__ import main\n"
        "main()"
    )
    environment = {**os.environ, "KTRDR_HOME": str(world.home), **empty_engine(world)}
    environment.pop("PWD", None)
    if shell_told:
        environment["PWD"] = str(gone)
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("shell_told", [True, False])
@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_from_a_deleted_directory(world: World, words: tuple[str, ...], shell_told: bool) -> None:
    world.run("create", "feat-x")
    expected = world.run(*words, "feat-x", env=empty_engine(world))
    done = in_deleted(world, *words, "feat-x", shell_told=shell_told)
    assert (done.returncode, done.stdout) == (expected.exit_code, expected.stdout), done.stderr


def test_from_a_deleted_directory_without_a_name(world: World) -> None:
    refused = in_deleted(world, "status", shell_told=True)
    assert refused.returncode == 66
    assert refused.stderr.startswith("error: Not in a sandbox instance directory. ")


def test_create_in_a_deleted_directory_says_so(world: World) -> None:
    refused = in_deleted(world, "create", "feat-x", shell_told=True)
    assert refused.returncode == 2
    gone = world.folder / "gone"
    assert refused.stderr == f"error: The directory {gone} does not exist.\n"


def test_destroy_from_within_what_it_deletes(world: World) -> None:
    """And the shell that stands there afterwards can go on by name."""
    world.run("create", "feat-x")
    world.run("create", "feat-y")
    ended = world.run("destroy", "--yes", cwd=world.path_of("feat-x"), env=empty_engine(world))
    assert ended.exit_code == 0, ended
    assert not world.path_of("feat-x").exists()
    shutil.rmtree(world.folder / "gone", ignore_errors=True)
    assert in_deleted(world, "status", "feat-y", shell_told=True).returncode == 0
