"""`--all`: every instance at once, one line for each, one status for all."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from ktrdr_sandbox.cli.error_table import worst
from tests.cli.docker_scripts import docker_script, empty_engine
from tests.cli.test_interrupt import hanging, started
from tests.support.processes import has_ended
from tests.support.terminal import terminal
from tests.support.world import World, register


@pytest.fixture
def three(world: World) -> World:
    register(world, {"feat-a": 6, "feat-b": 7, "feat-c": 8})
    return world


@pytest.mark.parametrize("command", ["up", "down", "destroy"])
def test_without_any_instance(world: World, command: str) -> None:
    done = world.run(command, "--all")
    assert (done.exit_code, done.out, done.err) == (0, "There is no instance.\n", "")
    empty = {"instances": [], "succeeded": 0, "failed": 0}
    assert world.run(command, "--all", "--json").data == empty


def test_down(three: World) -> None:
    done = three.run("down", "--all", env=empty_engine(three))
    assert done.exit_code == 0
    lines = done.out.splitlines()
    assert sorted(lines[:-1]) == [f"feat-{one}: was not running." for one in "abc"]
    assert lines[-1] == "3 instances: all down."
    assert done.err == ""


def test_a_name_does_not_go_with_all(three: World) -> None:
    for words in (["up", "feat-a"], ["down", "feat-a"], ["destroy", "feat-a"]):
        refused = three.run(*words, "--all")
        assert refused.exit_code == 64
        assert refused.err == "error: NAME is for one instance and does not go with --all.\n"
    bundle = three.run("up", "--all", "--bundle", "x.tar.gz")
    assert bundle.err == "error: --bundle is for one instance and does not go with --all.\n"


def test_one_that_refuses_stops_no_other(three: World) -> None:
    (three.path_of("feat-b") / "new").touch()
    done = three.run("destroy", "--all", "--yes", env=empty_engine(three))
    assert done.exit_code == 77
    assert set(three.registered()) == {"ktrdr--feat-b"}
    assert sorted(done.out.splitlines()) == [
        "feat-a: destroyed; slot 6 is free.",
        "feat-c: destroyed; slot 8 is free.",
    ]
    assert done.err == (
        "feat-b: error: <world>/ktrdr--feat-b holds work that is nowhere else:\n"
        "feat-b:   ?? new\n"
        "feat-b: hint: Commit or stash it, or keep the directory: --keep-worktree\n"
        "feat-b: hint: With --force the directory is moved to the trash folder, not deleted.\n"
        "3 instances: 2 destroyed, 1 not (feat-b).\n"
    )


def test_each_has_its_own_error_in_the_document(three: World) -> None:
    (three.path_of("feat-b") / "new").touch()
    done = three.run("destroy", "--all", "--yes", "--json", env=empty_engine(three))
    assert done.exit_code == 77
    assert done.error == {
        "code": "some-failed",
        "message": "3 instances: 2 destroyed, 1 not (feat-b).",
        "hints": [],
        "details": {"failed": ["ktrdr--feat-b"]},
    }
    data = done.document["data"]
    assert (data["succeeded"], data["failed"]) == (2, 1)
    found = {one["instance"]: one for one in data["instances"]}
    assert list(found) == ["ktrdr--feat-a", "ktrdr--feat-b", "ktrdr--feat-c"]
    assert found["ktrdr--feat-a"]["data"]["instance"]["slot"] == 6
    refused = found["ktrdr--feat-b"]
    assert (refused["ok"], refused["exit_code"]) == (False, 77)
    assert refused["error"]["code"] == "would-lose-work"


def test_destroy_lists_all_and_asks_once(three: World) -> None:
    environment = {**os.environ, "KTRDR_HOME": str(three.home), **empty_engine(three)}
    argv = [sys.executable, "-m", "ktrdr_sandbox", "destroy", "--all"]
    with terminal(argv, cwd=three.repository.root, environment=environment) as shown:
        shown.until(r"Destroy all 3 instances\? \[y/N\]")
        for one in "abc":
            assert f"  directory {three.path_of(f'feat-{one}')}" in shown.text
        shown.type(b"n\r")
        status, _ = shown.end()
    assert status == 130
    assert "Nothing was removed." in shown.text
    assert shown.text.count("[y/N]") == 1
    assert len(three.registered()) == 3
    with terminal(argv, cwd=three.repository.root, environment=environment) as shown:
        shown.until(r"\[y/N\]")
        shown.type(b"y\r")
        status, _ = shown.end()
    assert status == 0, shown.text
    assert shown.lines[-1] == "3 instances: all destroyed."
    assert three.registered() == {}


def test_destroy_needs_yes_without_a_terminal(three: World) -> None:
    refused = three.run("destroy", "--all", env=empty_engine(three))
    assert refused.exit_code == 64
    assert refused.err == (
        "error: destroy asks before it removes, and there is no terminal to ask on.\n"
        "hint: Add --yes, or look first with --dry-run.\n"
    )
    assert len(three.registered()) == 3


def test_dry_run_of_destroy_only_lists(three: World) -> None:
    done = three.run("destroy", "--all", "--dry-run", env=empty_engine(three))
    assert done.exit_code == 0
    assert [line for line in done.out.splitlines() if "would remove" in line] == [
        f"destroy ktrdr--feat-{one} would remove:" for one in "abc"
    ]
    assert len(three.registered()) == 3


def test_no_more_at_once_than_asked(three: World) -> None:
    """Each `docker` notes when it begins and ends, and what it is asked about. With one job none
    begins for an instance before all for another have ended."""
    log = three.folder / "log"
    script = docker_script(three, f'echo "+ $*" >> {log}; sleep 0.3; echo "- $*" >> {log}; exit 1')
    done = three.run("down", "--all", "--jobs", "1", env=script)
    assert done.exit_code == 1, done
    uuids = [entry["uuid"] for entry in three.registered().values()]
    under_way: list[str] = []
    seen = set()
    for line in log.read_text().splitlines():
        (uuid,) = [one for one in uuids if one in line]
        if line.startswith("+"):
            under_way.append(uuid)
            seen.add(uuid)
        else:
            under_way.remove(uuid)
        assert len(set(under_way)) <= 1
    assert seen == set(uuids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all(world: World, number: signal.Signals) -> None:
    for one in "ab":
        world.run("create", f"feat-{one}")
    with hanging(world, "down", "--all", "--jobs", "1", "--json") as (program, pids):
        while len(started(pids)) < 2:
            assert program.poll() is None
            time.sleep(0.01)
        began = time.monotonic()
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
        assert time.monotonic() - began < 20
        assert (program.returncode, err) == (130, "")
        document = json.loads(out)
        assert document["error"]["code"] == "interrupted"
        first, second = document["data"]["instances"]
        assert (first["exit_code"], first["error"]["code"]) == (130, "interrupted")
        assert (second["exit_code"], second["error"]) == (None, None)
        assert [pid for pid in started(pids) if not has_ended(pid)] == []


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([1, 2, 77], 2), ([77, 69, 2], 69), ([66, 1], 1), ([3, 2], 3), ([130, 70], 130), ([5], 1)],
)
def test_the_worst_status(statuses: list[int], expected: int) -> None:
    assert worst(statuses) == expected
