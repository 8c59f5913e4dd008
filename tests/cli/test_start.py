"""What a command loads before it answers: held by the modules themselves, never by time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping

import pytest

from tests.cli.docker_scripts import empty_engine
from tests.support.world import World

HEAVY = {"pydantic", "pydantic_core", "pydantic_settings", "python_on_whales", "httpx", "rich"}
"""Each takes longer to load than most commands to answer."""

_NOTING = """\
import atexit, pathlib, sys

def note():
    executed = [n for n, m in sys.modules.items() if type(m).__name__ != "_LazyModule"]
    pathlib.Path({file!r}).write_text("\\n".join(executed))

atexit.register(note)
"""


def loaded(
    world: World,
    *arguments: str,
    env: Mapping[str, str | None] | None = None,
    status: int | None = 0,
) -> set[str]:
    """The modules that a process of the program has executed when it ends."""
    noting, file = world.folder / "noting", world.folder / "modules"
    noting.mkdir(exist_ok=True)
    script = _NOTING.format(file=str(file))
    (noting / "sitecustomize.py").write_text(script, encoding="utf-8")
    variables = {**os.environ, "KTRDR_HOME": str(world.home), **(env or {})}
    done = subprocess.run(  # a start of its own, and no fork of what has everything loaded
        [sys.executable, "-m", "ktrdr_sandbox", *arguments],
        cwd=world.repository.root,
        env={
            **{name: value for name, value in variables.items() if value is not None},
            "PYTHONPATH": str(noting),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert status in (None, done.returncode), done.stderr
    return set(file.read_text(encoding="utf-8").split("\n"))


def heavy(modules: Iterable[str]) -> set[str]:
    return {one.partition(".")[0] for one in modules} & HEAVY


@pytest.fixture
def known(world: World) -> World:
    """A world with an instance that no engine is needed for."""
    world.run("create", "feat-x")
    return world


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("--json", "--version")])
def test_before_any_command_nothing_is_heavier_than_typer(
    world: World, arguments: tuple[str, ...]
) -> None:
    modules = loaded(world, *arguments)
    assert "typer" in modules
    assert heavy(modules) == set()


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("url",), ("explain",)])
def test_quick_commands_load_nothing_heavy(known: World, arguments: tuple[str, ...]) -> None:
    assert heavy(loaded(known, *arguments, env=empty_engine(known))) == set()


@pytest.mark.parametrize(
    ("arguments", "most"), [(("--version",), 20), (("list",), 46), (("up", "feat-x"), 93)]
)
def test_own_modules_that_a_command_loads(
    known: World, arguments: tuple[str, ...], most: int
) -> None:
    modules = loaded(known, *arguments, env=empty_engine(known), status=None)
    own = sorted(name for name in modules if name.startswith("ktrdr_sandbox."))
    assert len(own) <= most, own


def test_listing_loads_nothing_that_makes_stacks(known: World) -> None:
    modules = loaded(known, "list", env=empty_engine(known))
    rooms = {one.split(".")[1] for one in modules if one.startswith("ktrdr_sandbox.")}
    assert "docker" in rooms
    assert "isolation" not in rooms


def test_a_use_case_is_loaded_when_it_is_used(known: World) -> None:
    """Help needs the declaration of `up` alone."""
    modules = loaded(known, "up", "--help")
    assert "ktrdr_sandbox.cli.stacks" in modules
    assert not {name for name in modules if name.startswith("ktrdr_sandbox.isolation")}


def test_wrong_values_are_judged(known: World) -> None:
    outcome = known.run("logs", "--tail", "many")
    assert outcome.exit_code == 64, outcome
    assert outcome.stderr.startswith("error: Invalid value for '--tail': "), outcome
