from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold, is_held

HOLDER = """
import sys, pathlib
from ktrdr_sandbox.locking import hold
with hold(pathlib.Path(sys.argv[1]), purpose="create feat-x", patience=5, tell=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(lock: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def end(child: subprocess.Popen[str]) -> None:
    child.communicate()


def test_waiting_is_told_with_who_holds_it_and_ends_with_the_limit(tmp_path: Path) -> None:
    lock, told = tmp_path / "state" / "a.lock", list[str]()
    child = start_holder(lock)
    try:
        with (
            pytest.raises(SandboxError) as caught,
            hold(lock, purpose="up feat-y", patience=1.3, tell=told.append),
        ):
            pytest.fail("two processes held one lock")
    finally:
        end(child)
    assert caught.value.code == "lock-timeout"
    assert told == [f"Waiting for another ktrdr-sandbox (pid {child.pid}, create feat-x)"]
    assert f"pid {child.pid}, create feat-x" in caught.value.message


def test_whether_it_is_held_can_be_asked(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    assert not is_held(lock)
    assert not lock.exists()
    child = start_holder(lock)
    try:
        assert is_held(lock)
    finally:
        end(child)
    assert not is_held(lock)


def test_a_holder_that_is_killed_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    child = start_holder(lock)
    child.kill()
    end(child)
    with hold(lock, purpose="next", patience=5, tell=pytest.fail):
        pass


def test_it_is_free_after_an_exception(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with pytest.raises(ZeroDivisionError), hold(lock, purpose="", patience=1, tell=pytest.fail):
        raise ZeroDivisionError
    with hold(lock, purpose="", patience=1, tell=pytest.fail):
        assert lock.exists()


def test_a_place_that_takes_no_lock(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with (
        pytest.raises(SandboxError) as caught,
        hold(blocker / "a.lock", purpose="", patience=1, tell=pytest.fail),
    ):
        pytest.fail("held a lock below a file")
    assert caught.value.code == "cannot-write"


def test_the_lock_is_the_owners_alone(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with hold(lock, purpose="", patience=1, tell=pytest.fail):
        assert lock.stat().st_mode & 0o077 == 0
