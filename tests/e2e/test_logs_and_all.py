"""Logs that are followed over restarts, and commands on every instance, on a real engine."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.stacks import Sandbox, Stack, commit, docker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(400),
]

TICKING = """\
services:
  ticker:
    image: {image}
    command: ["sh", "-c", "i=0; while :; do i=$$((i+1)); echo tick $$i; sleep 1; done"]
    stop_grace_period: 0s
  once:
    image: {image}
    command: ["sh", "-c", "echo once"]
"""


@pytest.fixture
def place(light: Sandbox) -> Sandbox:
    """The repository with two small services in place of the application's."""
    image = os.environ.get("KTRDR_LAB_TINY_IMAGE", "busybox:latest")
    file = light.repository / "docker-compose.sandbox.yml"
    file.write_text(TICKING.format(image=image), encoding="utf-8")
    commit(light.repository, "Two small services")
    return light


def until(true: Callable[[], object], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


class Followed:
    """`logs --follow` while it runs, its two streams in files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def lines(self) -> list[str]:
        return self._out.read_text(encoding="utf-8").splitlines()

    @property
    def told(self) -> list[str]:
        return self._err.read_text(encoding="utf-8").splitlines()

    def count(self, pattern: str) -> int:
        return sum(1 for line in self.lines if re.fullmatch(pattern, line))

    def until(self, pattern: str, times: int) -> None:
        until(lambda: self.count(pattern) >= times, lambda: "\n".join([*self.lines, *self.told]))


@contextmanager
def following(place: Sandbox, *arguments: str) -> Iterator[Followed]:
    out, err = place.folder / "followed.out", place.folder / "followed.err"
    with (
        out.open("wb") as shown,
        err.open("wb") as told,
        subprocess.Popen(
            [*place.program, "logs", "--follow", *arguments],
            cwd="/",
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=told,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Followed(process, out, err)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_following_goes_on_over_restarts_of_a_container_and_of_the_stack(
    place: Sandbox, mark: str
) -> None:
    stack = place.create(f"{mark}-logs")
    place.up(stack).expect(0)
    with following(place, "-i", stack.name) as seen:
        seen.until(r"ticker-1 \| tick 3", 1)
        assert seen.count(r"once-1 +\| once") == 1

        docker("restart", stack.container("ticker")["Id"])
        seen.until(r"ticker-1 \| tick 3", 2)

        place.run("down", stack.name).expect(0)
        away = f"{stack.id} is not running; its logs go on here when it is back."
        until(lambda: away in seen.told, lambda: str(seen.told))
        place.up(stack).expect(0)
        seen.until(r"ticker-1 \| tick 3", 3)
        assert seen.count(r"once-1 +\| once") == 2, "of the new container, once each"
        # No line was lost or shown twice: each run of the ticker counts from one.
        ticks = [int(line.split()[-1]) for line in seen.lines if line.startswith("ticker-1")]
        assert all(after in (before + 1, 1) for before, after in itertools.pairwise(ticks))
        assert ticks.count(1) == 3
        assert seen.told == [away, f"{stack.id} is back."]

        began = time.monotonic()
        seen.process.send_signal(signal.SIGINT)
        assert seen.process.wait(timeout=60) == 130
        assert time.monotonic() - began < 10
        assert len(seen.told) == 2


def test_following_ends_with_the_instance(place: Sandbox, mark: str) -> None:
    stack = place.create(f"{mark}-ends")
    place.up(stack).expect(0)
    with following(place, "ticker", "-i", stack.id) as seen:
        seen.until(r"ticker-1 \| tick 1", 1)
        place.run("destroy", stack.name, "--yes").expect(0)
        assert seen.process.wait(timeout=120) == 0
        assert seen.told[-1] == f"{stack.id} was destroyed."


def test_stopped_containers_still_have_their_logs(place: Sandbox, mark: str) -> None:
    stack = place.create(f"{mark}-stopped")
    place.up(stack).expect(0)
    docker("kill", stack.container("ticker")["Id"])
    shown = place.run("logs", "ticker", "once", "-i", stack.name).expect(0)
    assert re.search(r"^once-1 +\| once$", shown.stdout, re.MULTILINE)
    ticks = [line for line in shown.stdout.splitlines() if line.startswith("ticker-1")]
    assert "ticker-1 | tick 1" in ticks
    last = place.run("logs", "ticker", "--tail", "1", "-i", stack.name).expect(0)
    assert last.stdout == ticks[-1] + "\n"
    recent = place.run("logs", "--since", "2020-01-01T00:00:00Z", "-i", stack.name).expect(0)
    # each service's lines have their order, those of different services have none
    assert sorted(recent.stdout.splitlines()) == sorted(shown.stdout.splitlines())
    wrong = place.run("logs", "--since", "yesterday-ish", "-i", stack.name).expect(64)
    assert wrong.stderr.startswith("error: 'yesterday-ish' is no time and no duration.\n")


def running(*stacks: Stack) -> list[bool]:
    return [stack.container("ticker")["State"]["Running"] for stack in stacks]


def test_all_of_them_up_down_and_gone(place: Sandbox, mark: str) -> None:
    first, second = place.create(f"{mark}-a"), place.create(f"{mark}-b")
    up = place.run("up", "--all", cwd=Path("/")).expect(0)
    assert sorted(re.sub(r"\d+\.\d s", "<t> s", line) for line in up.stdout.splitlines()) == sorted(
        [
            f"{first.name}: ready after <t> s, without an API.",
            f"{second.name}: ready after <t> s, without an API.",
            "2 instances: all up.",
        ]
    )
    assert running(first, second) == [True, True]

    # One that cannot start leaves the other alone, and has the status of its own failure.
    place.run("down", "--all").expect(0)
    assert first.containers() + second.containers() == []
    first.edit("docker-compose.sandbox.yml", "echo once", "exit 3")
    failed = place.run("up", "--all").expect(2)
    assert f"{first.name}: error: " in failed.stderr
    assert failed.stderr.splitlines()[-1] == f"2 instances: 1 up, 1 not ({first.name})."
    assert f"{second.name}: ready after" in failed.stdout
    assert running(second) == [True]

    document = place.run("destroy", "--all", "--yes", "--json").expect(77).document
    assert [(one["instance"], one["exit_code"]) for one in document["data"]["instances"]] == sorted(
        [(first.id, 77), (second.id, 0)],
        key=lambda one: {first.id: first.slot, second.id: second.slot}[one[0]],
    )
    assert second.leftovers() == []
    assert running(first), "what holds unsaved work keeps its containers too"
    place.run("destroy", "--all", "--yes", "--force").expect(0)
    assert first.leftovers() == []


def test_an_interrupt_of_all_leaves_nothing_at_work(place: Sandbox, mark: str) -> None:
    for one in ("x", "y"):
        place.create(f"{mark}-{one}")
    with place.started("up", "--all", log=place.folder / "log") as process:
        # of these two: other tests of this run may keep a stack, and Python itself may be starting
        begun = ("ps", "-q", "--filter", f"name={mark}-[xy]-")
        until(lambda: docker(*begun).strip(), lambda: "no start")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    told = (place.folder / "log").read_text(encoding="utf-8")
    assert "Traceback" not in told
    assert "defect" not in told
    place.run("down", "--all").expect(0)
