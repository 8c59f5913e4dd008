"""Who holds the engine, when holders crash, clones go and pids are used again."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import state
from tests.lab.errors import LabError
from tests.lab.processes import Process, find, parse_stat
from tests.lab.state import Hold, State


@pytest.fixture
def me() -> Process:
    process = find(os.getpid())
    assert process is not None
    return process


def ended() -> Process:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = find(child.pid)
    child.communicate()
    assert process is not None
    return process


def test_what_is_saved_is_loaded(tmp_path: Path, me: Process) -> None:
    written = State(engine=me, holds=(Hold("demo", "/a clone"), Hold("test", "/b", me)))
    state.save(tmp_path / "engine.json", written)
    assert state.load(tmp_path / "engine.json") == written


def test_nothing_saved_is_nothing_held(tmp_path: Path) -> None:
    assert state.load(tmp_path / "engine.json") == State()


@pytest.mark.parametrize("content", ["{", '{"version": 2}', "{}"])
def test_a_file_that_cannot_be_understood_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(content)
    with pytest.raises(LabError, match=r"engine\.json"):
        state.load(path)
    assert path.read_text() == content


def test_a_crashed_holder_holds_nothing(tmp_path: Path, me: Process) -> None:
    stays, goes = Hold("test", str(tmp_path), me), Hold("test", str(tmp_path), ended())
    assert State(holds=(stays, goes)).current().holds == (stays,)


def test_a_reused_pid_is_another_holder(tmp_path: Path, me: Process) -> None:
    earlier = dataclasses.replace(me, started=me.started - 1)
    assert State(holds=(Hold("test", str(tmp_path), earlier),)).current().is_unused()


def test_a_pid_from_before_a_restart_of_the_host_is_no_engine(me: Process) -> None:
    assert State(engine=dataclasses.replace(me, boot="another")).current().engine is None


def test_a_demo_is_held_until_released_or_its_clone_is_gone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    held = State().with_hold(Hold("demo", str(clone)))
    assert not held.current().is_unused()
    assert held.without_hold(Hold("demo", str(clone))).is_unused()
    clone.rmdir()
    assert held.current().is_unused()


def test_holding_twice_is_one_hold(tmp_path: Path) -> None:
    hold = Hold("demo", str(tmp_path))
    assert State().with_hold(hold).with_hold(hold).holds == (hold,)


def test_start_time_is_found_behind_any_command_name() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert parse_stat(f"17 (a ) b (c) S {fields}") == ("S", 22)


def test_stop_kills_what_does_not_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    stubborn = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", stubborn, str(ready)]) as child:
        process = find(child.pid)
        assert process is not None
        while not ready.exists():
            assert child.poll() is None
        assert process.stop(term_limit=0.2) is False
        assert child.wait() == -9


def test_stop_never_touches_a_process_with_the_same_pid(me: Process) -> None:
    assert dataclasses.replace(me, started=me.started - 1).stop(term_limit=1) is True
