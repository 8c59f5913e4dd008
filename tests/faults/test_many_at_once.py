"""Many processes on one home: slots are given once, and the registry is whole at every moment."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.faults.world import FaultWorld
from tests.faults.zygote import UNEXPECTED

SECONDS = float(os.environ.get("KTRDR_LAB_STRESS_SECONDS", "4"))
"""How long the actors act; a minute when somebody wants to know."""


@pytest.fixture
def world(empty_world: FaultWorld) -> FaultWorld:
    return empty_world


def request(world: FaultWorld, label: str, *argv: str) -> dict[str, Any]:
    return {**world.request(label), "argv": argv}


@pytest.mark.timeout(300)
def test_ten_creates_at_once_and_the_eleventh(world: FaultWorld) -> None:
    requests = [request(world, f"c{i}", "create", f"feat-{i}") for i in range(10)]
    statuses = world.together(requests)
    assert statuses == [0] * 10, [world.output(f"c{i}") for i in range(10)]
    entries = world.registered()
    assert sorted(entry["slot"] for entry in entries.values()) == list(range(1, 11))
    assert len(world.repository.worktrees()) == 11

    (status,) = world.together([request(world, "eleventh", "create", "one-more")])
    assert status == 1
    said = world.output("eleventh")
    assert said.startswith("error: All 10 sandbox slots are in use.\n")
    for identity, entry in entries.items():
        assert f"slot {entry['slot']}: {identity}\n" in said
    assert "Run 'ktrdr-sandbox list' to see instances." in said
    assert "Destroy unused instances with 'ktrdr-sandbox destroy'." in said
    assert "one-more" not in world.repository.branches()

    gone = [request(world, f"d{i}", "destroy", f"feat-{i}", "--yes") for i in range(10)]
    assert world.together(gone) == [0] * 10, [world.output(f"d{i}") for i in range(10)]
    assert world.registered() == {}
    assert world.repository.worktrees() == [world.repository.root]
    assert world.residue() == []


def test_ten_creates_of_one_name_make_one(world: FaultWorld) -> None:
    statuses = world.together([request(world, f"c{i}", "create", "feat-x") for i in range(10)])
    assert sorted(statuses) == [0] + [3] * 9, [world.output(f"c{i}") for i in range(10)]
    assert list(world.registered()) == ["ktrdr--feat-x"]
    assert world.residue() == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [0.0, 0.15], ids=["in-peace", "with-kills"])
def test_twenty_processes_at_random(
    world: FaultWorld, kills: float, record_property: Callable[[str, object], None]
) -> None:
    names = [f"feat-{i}" for i in range(6)]
    commands = [
        ["list"],
        *(["create", name] for name in names),
        *(["destroy", name, "--yes"] for name in names),
        *(["up", name, "--no-wait"] for name in names[:3]),
        *(["down", name, "--now"] for name in names[:3]),
        *(["status", name] for name in names),
    ]
    # there already (1, 3), not there (66), no longer free (1); a kill shows as -9
    expected = [0, 1, 3, 66, *([-9] if kills else [])]
    actors = [
        {
            "base": world.request(f"a{i}"),
            "commands": commands,
            "expected": expected,
            "seconds": SECONDS,
            "kills": kills,
            "seed": i,
        }
        for i in range(20)
    ]
    with Watcher(world.home / "sandbox" / "instances.json") as watcher:
        unexpected = world.together(actors)
    record_property("registry states read under load", watcher.read)
    assert watcher.troubles == []
    assert unexpected == [0] * 20, "\n".join(told_before_unexpected_ends(world))
    for name in names:
        ending = world.run("destroy", name, "--yes")
        assert ending.status in (0, 66), ending
    assert world.registered() == {}
    assert world.repository.worktrees() == [world.repository.root]
    assert not list((world.repository.root / ".git" / "worktrees").glob("*"))
    assert list(world.root.glob("*ktrdr--*")) == []
    engine = world.engine_now()
    assert (engine.held, engine._networks, engine._volumes) == ({}, {}, {})
    assert world.residue() == []


def told_before_unexpected_ends(world: FaultWorld) -> Iterator[str]:
    """The last lines up to each such end."""
    for number in range(20):
        lines = world.output(f"a{number}").splitlines()
        for at, line in enumerate(lines):
            if line.startswith(UNEXPECTED):
                yield "\n".join(lines[max(0, at - 12) : at + 1])


class Watcher:
    """Reads the registry again and again, as any other program may."""

    def __init__(self, path: Path) -> None:
        self.read = 0
        self.troubles: list[str] = []
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            try:
                text = self._path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            self.read += 1
            try:
                slots = [one["slot"] for one in json.loads(text)["instances"].values()]
            except (ValueError, LookupError) as error:
                self.troubles.append(f"{error!r}: {text!r}")
                continue
            if len(slots) != len(set(slots)):
                self.troubles.append(f"double slot: {text}")
