"""A second command on an instance waits, it is told for whom, and the limit has its own status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.docker_scripts import empty_engine
from tests.support.world import World

HOLDER = """
import sys
from pathlib import Path
from ktrdr_sandbox.locking import hold
with hold(Path(sys.argv[1]), purpose="up feat-x", patience=5.0, tell=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_command(world: World) -> Iterator[subprocess.Popen[str]]:
    """A process that is busy with feat-x."""
    lock = world.home / "sandbox" / "locks" / "ktrdr--feat-x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
        child.communicate()


def test_the_limit(world: World) -> None:
    assert world.run("create", "feat-x").exit_code == 0
    patience = {"KTRDR_SANDBOX_LOCK_PATIENCE": "1.5"}
    with another_command(world) as other:
        outcome = world.run("down", "feat-x", env=empty_engine(world) | patience)
    assert (outcome.exit_code, outcome.out) == (75, ""), outcome
    who = f"another ktrdr-sandbox (pid {other.pid}, up feat-x)"
    assert outcome.err == (
        f"Waiting for {who}\n"
        f"error: A{who[1:]} held the lock for more than 1.5 s.\n"
        "hint: Run the command again when it has finished.\n"
    )


def test_another_instance_does_not_wait(world: World) -> None:
    for name in ("feat-x", "feat-y"):
        assert world.run("create", name).exit_code == 0
    with another_command(world):
        outcome = world.run("down", "feat-y", env=empty_engine(world))
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
