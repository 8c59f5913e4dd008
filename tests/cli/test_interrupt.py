"""An interrupt where Docker itself hangs and hears nothing: the prompt is back all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.docker_scripts import docker_script
from tests.support.processes import has_ended, is_alive
from tests.support.world import World

PROMPT_BACK = 10.0
"""Seconds: wanted are two. What hangs would do so for minutes."""


@contextmanager
def hanging(world: World, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The program over a `docker` that ignores all polite requests to end, and its children's pids
    in a file. No process is left after the block."""
    pids = world.folder / "pids"
    pids.touch()
    deaf = f"trap '' INT TERM; echo $$ >> {pids}; sleep 300 & echo $! >> {pids}; wait; sleep 300"
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", *arguments],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home), **docker_script(world, deaf)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            yield program, pids
        finally:
            for number in (program.pid, *started(pids)):
                if is_alive(number):
                    os.kill(number, signal.SIGKILL)


def started(pids: Path) -> list[int]:
    return [int(line) for line in pids.read_text(encoding="utf-8").split()]


def interrupted(
    program: subprocess.Popen[str], pids: Path, number: signal.Signals
) -> tuple[str, str]:
    """What it told. It had started a command by then, and leaves none behind."""
    while len(started(pids)) < 2:
        assert program.poll() is None
        time.sleep(0.01)
    began = time.monotonic()
    program.send_signal(number)
    out, err = program.communicate(timeout=60)
    assert time.monotonic() - began < PROMPT_BACK
    assert program.returncode == 130, err
    left = [pid for pid in started(pids) if not has_ended(pid)]
    assert left == [], "commands of docker go on behind the prompt"
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_over_a_docker_that_hangs(world: World, number: signal.Signals) -> None:
    world.run("create", "feat-x")
    with hanging(world, "up", "feat-x") as (program, pids):
        out, err = interrupted(program, pids, number)
    assert out == ""
    assert err == (
        "error: Interrupted. Docker gives no answer, so what runs is not known.\n"
        "hint: 'up' goes on with it, 'down' stops it.\n"
    )


@pytest.mark.parametrize("command", ["down", "destroy --yes", "list", "status", "doctor", "gc"])
def test_questions_of_other_threads_end_too(world: World, command: str) -> None:
    world.run("create", "feat-x")
    name = [] if command in ("list", "gc") else ["feat-x"]
    with hanging(world, *command.split(), *name) as (program, pids):
        out, err = interrupted(program, pids, signal.SIGINT)
    assert out == ""
    assert "error: Interrupted." in err


def test_as_json(world: World) -> None:
    world.run("create", "feat-x")
    with hanging(world, "up", "feat-x", "--json") as (program, pids):
        out, err = interrupted(program, pids, signal.SIGINT)
    assert err == ""
    error = json.loads(out)["error"]
    assert error["code"] == "interrupted"
    assert error["details"] == {"containers": None, "running": None}
