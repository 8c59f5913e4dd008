"""What init-shared puts into the shared folder, seen from inside the containers of two stacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stacks import Sandbox, Stack, docker, sandbox
from tests.support.trees import checkout, write

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(300),
]

EMPTY = "The shared folder is empty: 'ktrdr-sandbox init-shared --minimal' fills it."
AAPL = "data/AAPL_1d.csv"


@dataclass
class Pair:
    """Two stacks of three services, on one shared folder."""

    place: Sandbox
    stacks: tuple[Stack, Stack]
    told_when_empty: list[str]

    @property
    def shared(self) -> Path:
        return self.place.home / ".ktrdr" / "shared"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Iterator[Pair]:
    with sandbox(tmp_path_factory.mktemp("shared-data") / "place") as place:
        place.make_repository(light=True)
        stacks = (place.create(f"{mark}-shared-1"), place.create(f"{mark}-shared-2"))
        first = place.up(stacks[0]).expect(0)
        place.run("init-shared", "--minimal").expect(0)
        second = place.up(stacks[1]).expect(0)
        assert second.document["messages"] == []
        yield Pair(place, stacks, first.document["messages"])


def inside(stack: Stack, *command: str) -> str:
    return docker("exec", stack.container("backend")["Id"], *command)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seen(stack: Stack, path: str) -> str:
    """Checksum of a file, as the backend of a stack reads it."""
    return inside(stack, "sha256sum", f"/app/{path}").split()[0]


def test_up_says_in_one_line_that_nothing_is_shared_and_goes_on(pair: Pair) -> None:
    assert pair.told_when_empty == [EMPTY]


def test_a_stack_that_runs_already_sees_what_is_filled_in(pair: Pair) -> None:
    assert {seen(stack, AAPL) for stack in pair.stacks} == {digest(pair.shared / AAPL)}
    assert "EURUSD_1h.csv" in inside(pair.stacks[0], "ls", "/app/data")


def test_what_one_backend_writes_the_other_reads(pair: Pair) -> None:
    """As a user of the container's own, who is not the one that made the folder."""
    one, two = pair.stacks
    inside(one, "sh", "-c", "echo written inside > /app/data/NEW_1d.csv")
    assert inside(two, "cat", "/app/data/NEW_1d.csv") == "written inside"
    assert (pair.shared / "data/NEW_1d.csv").read_text() == "written inside\n"


def test_logs_are_each_stacks_own(pair: Pair) -> None:
    one, two = pair.stacks
    inside(one, "sh", "-c", "echo only here > /app/logs/mine.log")
    assert (one.path / "logs/mine.log").read_text() == "only here\n"
    assert "mine.log" not in inside(two, "ls", "/app/logs")
    for stack in pair.stacks:
        written = (stack.path / "logs/ktrdr.log").read_text(encoding="utf-8")
        assert "ktrdr.api: KTRDR" in written
        assert written.startswith(inside(stack, "head", "-n", "1", "/app/logs/ktrdr.log"))


def test_a_newer_version_reaches_stacks_that_run(pair: Pair, tmp_path: Path) -> None:
    """By renaming: a reader has the old file or the new one."""
    source = checkout(tmp_path / "ktrdr")
    pair.place.run("init-shared", "--from", str(source)).expect(0)
    assert {seen(stack, AAPL) for stack in pair.stacks} == {digest(source / AAPL)}
    write(source / AAPL, "newer\n", time_ns=1_800_000_000 * 10**9)
    pair.place.run("init-shared", "--from", str(source)).expect(0)
    assert {inside(stack, "cat", f"/app/{AAPL}") for stack in pair.stacks} == {"newer"}
    assert inside(pair.stacks[0], "cat", "/app/data/NEW_1d.csv") == "written inside"


def test_status_tells_what_is_shared(pair: Pair) -> None:
    told = pair.place.run("status", pair.stacks[0].name, "--json").expect(0).data["shared"]
    assert told["path"] == str(pair.shared)
    assert {"AAPL", "EURUSD", "MSFT", "NEW"} <= set(told["symbols"])
    shown = pair.place.run("status", pair.stacks[0].name).expect(0).stdout
    assert "  Shared     4 symbols (1h, 1d), 1 model, 2 strategies, " in shown


def test_a_linked_folder_is_mounted(tmp_path: Path, mark: str) -> None:
    with sandbox(tmp_path / "place") as place:
        place.make_repository(light=True)
        source = checkout(tmp_path / "elsewhere")
        place.run("init-shared", "--from", str(source), "--link").expect(0)
        stack = place.create(f"{mark}-linked")
        place.up(stack).expect(0)
        assert seen(stack, AAPL) == digest(source / AAPL)
        write(source / "data/LATER_1d.csv", "later\n")
        assert inside(stack, "cat", "/app/data/LATER_1d.csv") == "later"
        place.run("destroy", stack.name, "--yes").expect(0)
        assert (source / AAPL).exists()
