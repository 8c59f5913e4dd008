"""What a command loads before it answers: held by the modules themselves, never by time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.cli.docker_scripts import empty_engine
from tests.support.world import World

HEAVY = {"pydantic", "pydantic_core", "pydantic_settings", "python_on_whales", "httpx", "rich"}
"""Each takes longer to load than most commands to answer."""

_NOTING = """\
import atexit, pathlib, sys
atexit.register(lambda: pathlib.Path({file!r}).write_text("\\n".join(sys.modules)))
"""


def loaded(world: World, *arguments: str, env: Mapping[str, str | None] | None = None) -> set[str]:
    """The modules that a process of the program has when it ends."""
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
    assert done.returncode == 0, done.stderr
    return set(file.read_text(encoding="utf-8").split("\n"))


def heavy(modules: Iterable[str]) -> set[str]:
    return {one.partition(".")[0] for one in modules} & HEAVY


def commands(modules: Iterable[str]) -> set[str]:
    """Names of the command modules among them."""
    own = {path.stem for path in (Path(_package()) / "cli").glob("*.py")}
    support = {
        "ahead",
        "app",
        "boundary",
        "examples",
        "exit_codes",
        "flags",
        "options",
        "values",
        "wiring",
    }
    found = {one.removeprefix("ktrdr_sandbox.cli.") for one in modules}
    return (found & own) - support


def _package() -> str:
    found = sys.modules["ktrdr_sandbox"].__file__
    assert found is not None
    return str(Path(found).parent)


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--json"),
        ("status", "feat-x"),
        ("status", "feat-x", "--json"),
        ("env", "feat-x"),
        ("env", "feat-x", "--export"),
        ("url", "--port", "8003"),
        ("url", "--json"),
        ("explain", "port-conflict"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_quick_commands_load_nothing_heavy(known: World, arguments: tuple[str, ...]) -> None:
    modules = loaded(known, *arguments, env=empty_engine(known))
    assert heavy(modules) == set()


@pytest.mark.parametrize(
    "arguments", [("create", "feat-y"), ("destroy", "feat-x", "--yes", "--json")], ids=" ".join
)
def test_where_nothing_is_set_nothing_is_judged(known: World, arguments: tuple[str, ...]) -> None:
    set_here = {name: None for name in os.environ if name.startswith("KTRDR_SANDBOX_")}
    modules = loaded(known, *arguments, env={**empty_engine(known), **set_here})
    assert heavy(modules) == set()


@pytest.mark.parametrize("arguments", [("--version",), ("--version", "list")])
def test_the_version_loads_no_command(world: World, arguments: tuple[str, ...]) -> None:
    assert commands(loaded(world, *arguments)) <= {"version", *arguments[1:]}


def test_a_command_loads_no_other(known: World) -> None:
    assert commands(loaded(known, "--quiet", "list", env=empty_engine(known))) == {"list"}
    assert commands(loaded(known, "url")) == {"url"}


def test_listing_loads_neither_git_nor_what_makes_stacks(known: World) -> None:
    modules = loaded(known, "list", env=empty_engine(known))
    rooms = {one.split(".")[1] for one in modules if one.startswith("ktrdr_sandbox.")}
    assert "docker" in rooms
    assert not {"git", "gate", "isolation", "shared", "env_file"} & rooms


def test_a_command_line_that_names_no_command_knows_them_all(world: World) -> None:
    assert {"create", "destroy", "list", "config"} <= commands(loaded(world, "--help"))


def test_wrong_values_are_still_judged(known: World) -> None:
    outcome = known.run("logs", "--tail", "many")
    assert outcome.exit_code == 64, outcome
    assert outcome.stderr.startswith("error: Invalid value for '--tail': "), outcome
