"""Commands of a user's own: their output, their end, and everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.docker.commands import CommandOutcome, end_marked, run_command
from tests.support.processes import has_ended, is_alive


def run(
    tmp_path: Path, *argv: str, timeout: float = 60.0, lines: list[str] | None = None
) -> CommandOutcome:
    sink = lines.append if lines is not None else (lambda _: None)
    return run_command(
        argv, environment=dict(os.environ), directory=tmp_path, timeout=timeout, sink=sink
    )


def test_lines_of_both_streams_as_they_come(tmp_path: Path) -> None:
    seen: list[str] = []
    outcome = run(tmp_path, "sh", "-c", "echo out; echo err >&2; pwd; cat; exit 3", lines=seen)
    assert seen == ["out", "err", str(tmp_path)]
    assert (outcome.exit_code, outcome.lines) == (3, tuple(seen))


def test_only_the_last_lines_are_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path, sys.executable, "-c", "for i in range(500): print(i)")
    assert outcome.lines == tuple(str(i) for i in range(460, 500))


def test_what_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    missing, forbidden = run(tmp_path, "no-such-program"), run(tmp_path, str(tmp_path / "data"))
    assert (missing.exit_code, missing.lines) == (
        127,
        ("no-such-program: No such file or directory",),
    )
    assert forbidden.exit_code == 126
    assert run(tmp_path, "a\0b").exit_code == 126


STUBBORN = (
    "trap '' INT TERM; (trap '' INT TERM; echo $$ > shell; sleep 600) & "
    "sh -c 'trap \"\" INT TERM; echo $$ > child; exec sleep 600' & echo up; wait; sleep 600"
)


def test_time_that_runs_out_ends_all_it_started(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", STUBBORN, timeout=2)
    assert outcome.exit_code is None
    assert outcome.lines == ("up",)
    assert has_ended(int((tmp_path / "child").read_text()))


def test_an_interrupt_ends_all_it_started(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "sh", "-c", STUBBORN)
    assert has_ended(int((tmp_path / "child").read_text()))


def test_an_interrupt_while_it_is_started_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child may run before this process knows of it."""
    start = subprocess.Popen

    def interrupted(*args: Any, **kwargs: Any) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = start(*args, **kwargs)
        (tmp_path / "pid").write_text(str(child.pid))
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "sleep", "600")
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_an_interrupt_may_be_answered(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", "trap 'echo bye; exit 5' INT; sleep 600 & wait", timeout=2)
    assert outcome.lines == ("bye",)


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = run(tmp_path, "sh", "-c", "sleep 600 & echo $! > child")
    pid = int((tmp_path / "child").read_text())
    try:
        assert outcome.exit_code == 0
        assert time.monotonic() - began < 60
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_processes_by_their_environment(tmp_path: Path) -> None:
    marked = {"OF_A_HOOK": str(tmp_path), "AND": "1"}
    one = subprocess.Popen(["sleep", "600"], env={**os.environ, **marked})
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, "AND": "1"})
    try:
        assert end_marked(marked) == 1
        assert has_ended(one.pid)
        assert is_alive(other.pid)
    finally:
        for child in (one, other):
            child.kill()
            child.wait()
