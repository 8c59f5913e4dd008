"""down and destroy: the whole output, and what is asked for first."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.cli.docker_scripts import empty_engine, engine_with
from tests.support.repositories import GitRepository
from tests.support.world import World


def test_down_of_what_does_not_run(world: World) -> None:
    made = world.run("create", "feat-x", "--json").data["instance"]
    outcome = world.run("down", "feat-x", env=empty_engine(world))
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == "ktrdr--feat-x was not running.\n"
    as_json = world.run("down", "feat-x", "--json", env=empty_engine(world))
    assert as_json.data == {"instance": made, "removed": [], "volumes_kept": []}


def test_a_dry_run(world: World) -> None:
    slot = world.run("create", "feat-x", "--json").data["instance"]["slot"]
    outcome = world.run("destroy", "feat-x", "--dry-run", env=empty_engine(world))
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == (
        "destroy ktrdr--feat-x would remove:\n"
        "  directory <world>/ktrdr--feat-x\n"
        f"  slot {slot} and the registry entry\n"
        "The branch feat-x stays.\n"
    )
    assert world.path_of("feat-x").is_dir()
    assert list(world.registered()) == ["ktrdr--feat-x"]


def test_a_dry_run_with_everything_in_the_way(world: World) -> None:
    made = world.run("create", "feat-x", "--json").data["instance"]
    (world.path_of("feat-x") / "draft").touch()
    engine = engine_with(world, {"uuid": made["uuid"], "service": "db"})
    outcome = world.run("destroy", "--dry-run", cwd=world.path_of("feat-x"), env=engine)
    assert outcome.exit_code == 0, outcome
    assert outcome.out == (
        "destroy ktrdr--feat-x would remove:\n"
        "  container ktrdr--feat-x-db-1\n"
        "  directory <world>/ktrdr--feat-x\n"
        f"  slot {made['slot']} and the registry entry\n"
        "The branch feat-x stays.\n"
        "It would refuse, because this work is nowhere else:\n"
        "  ?? draft\n"
    )


def test_a_dry_run_names_what_git_ignores(world: World) -> None:
    slot = world.run("create", "feat-x", "--json").data["instance"]["slot"]
    checkout = GitRepository(world.path_of("feat-x"))
    checkout.commit({".gitignore": ".env\ncache/\n"})
    checkout.write({".env": "MINE=yes", "cache/a": "", "cache/b": ""})
    outcome = world.run("destroy", "feat-x", "--dry-run", env=empty_engine(world))
    assert outcome.out == (
        "destroy ktrdr--feat-x would remove:\n"
        "  directory <world>/ktrdr--feat-x\n"
        "    with what git ignores in it: .env, cache/\n"
        f"  slot {slot} and the registry entry\n"
        "The branch feat-x stays.\n"
    )


def test_a_dry_run_that_keeps_the_directory(world: World) -> None:
    slot = world.run("init", "--json").data["instance"]["slot"]
    outcome = world.run("destroy", "--dry-run", env=empty_engine(world))
    assert outcome.out == (
        "destroy ktrdr--ktrdr would remove:\n"
        f"  slot {slot} and the registry entry\n"
        "The directory <world>/ktrdr stays: 'create' did not make it.\n"
    )


def test_a_dry_run_as_json(world: World) -> None:
    made = world.run("create", "feat-x", "--json").data["instance"]
    outcome = world.run("destroy", "feat-x", "--dry-run", "--json", env=empty_engine(world))
    assert outcome.data == {
        "instance": made,
        "resources": [],
        "images": [],
        "directory": str(world.path_of("feat-x")),
        "kept_because": None,
        "branch": "feat-x",
        "unsaved": {"files": [], "operation": None, "commits": [], "repositories": []},
        "ignored": [],
    }


def test_destroy(world: World) -> None:
    slot = world.run("create", "feat-x", "--json").data["instance"]["slot"]
    outcome = world.run("destroy", "feat-x", "--yes", env=empty_engine(world))
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == (
        f"Destroyed ktrdr--feat-x; slot {slot} is free.\nThe branch feat-x stays.\n"
    )
    assert world.registered() == {}
    assert not world.path_of("feat-x").exists()
    assert world.repository.branches() == ["feat-x", "main"]


def test_destroy_as_json(world: World) -> None:
    made = world.run("create", "feat-x", "--json").data["instance"]
    outcome = world.run("destroy", "feat-x", "--yes", "--json", env=empty_engine(world))
    assert outcome.data["instance"] == made
    assert outcome.data["trash"] is None


def test_destroy_from_inside_its_own_directory(world: World) -> None:
    world.run("create", "feat-x")
    outcome = world.run("destroy", "--yes", cwd=world.path_of("feat-x"), env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert not world.path_of("feat-x").exists()


def test_json_never_asks(world: World) -> None:
    world.run("create", "feat-x")
    outcome = world.run("destroy", "feat-x", "--json", env=empty_engine(world))
    assert outcome.exit_code == 64
    assert outcome.error["code"] == "confirmation-needed"
    assert world.path_of("feat-x").is_dir()


def answered(world: World, answer: str) -> tuple[int, str]:
    """Destroy on a terminal; the exit status and all the terminal showed."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "destroy", "feat-x"],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home), **empty_engine(world)},
        stdin=child,
        stdout=child,
        stderr=child,
    ) as program:
        os.close(child)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(parent, 4096)
        os.write(parent, answer.encode())
        while True:
            try:
                more = os.read(parent, 4096)
            except OSError:  # Linux's way to tell that the other side is closed
                break
            if not more:
                break
            shown += more
    os.close(parent)
    return program.returncode, shown.decode().replace("\r\n", "\n")


def test_a_terminal_is_asked_and_a_yes_does_it(world: World) -> None:
    world.run("create", "feat-x")
    status, shown = answered(world, "y\n")
    assert status == 0, shown
    assert "Destroy ktrdr--feat-x? [y/N]:" in shown
    assert "Destroyed ktrdr--feat-x" in shown
    assert world.registered() == {}


def test_anything_else_leaves_it(world: World) -> None:
    world.run("create", "feat-x")
    for answer in ("\n", "n\n", "\x04"):
        status, shown = answered(world, answer)
        assert status == 130, shown
        assert "Traceback" not in shown
        assert world.path_of("feat-x").is_dir()
        assert list(world.registered()) == ["ktrdr--feat-x"]
