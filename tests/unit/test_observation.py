"""Commands of other programs are told to whoever listens."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from ktrdr_sandbox import process
from ktrdr_sandbox.git.git import try_git
from ktrdr_sandbox.process import Outcome, listening, observed


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_all_ways_to_start_one_are_told(tmp_path: Path) -> None:
    heard: list[Outcome] = []
    environment = dict(os.environ)
    with listening(heard.append):
        process.run(python("raise SystemExit(3)"), environment=environment)
        process.stream(python("print(1)"), environment=environment, sink=lambda _: None)
        process.run_attached(python("raise SystemExit(4)"), environment=environment)
        try_git(["rev-parse", "--git-dir"], cwd=tmp_path)
    process.run(python(""), environment=environment)
    assert [run.exit_code for run in heard] == [3, 0, 4, 128]
    assert [run.cwd for run in heard] == [None, None, None, tmp_path]
    assert heard[3].argv == ("git", "rev-parse", "--git-dir")
    assert all(run.seconds > 0 for run in heard)


def test_one_that_ran_out_of_time_or_was_not_found_has_no_status() -> None:
    heard: list[Outcome] = []
    with listening(heard.append):
        process.run(
            python("import time; time.sleep(60)"), environment=dict(os.environ), timeout=0.2
        )
        with pytest.raises(FileNotFoundError):
            process.run(["no-such-program-here"], environment=dict(os.environ))
    assert [run.exit_code for run in heard] == [None, None]


def test_other_threads_are_heard() -> None:
    heard: list[Outcome] = []

    def work() -> None:
        with observed(["docker", "ps"]) as run:
            run.exit_code = 0

    with listening(heard.append):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [run.argv for run in heard] == [("docker", "ps")]


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (
            Outcome(argv=("git", "log", "a b"), cwd=Path("/src"), exit_code=1, seconds=0.123),
            "ran in /src (exit status 1, 0.12 s): git log 'a b'",
        ),
        (
            Outcome(argv=("docker", "login", "--password", "hunter2"), seconds=2),
            "ran (no exit status, 2.00 s): docker login --password '***'",
        ),
        (
            Outcome(argv=("docker", "run", "-e", "DB_PASSWORD=hunter2", "x"), exit_code=0),
            "ran (exit status 0, 0.00 s): docker run -e 'DB_PASSWORD=***' x",
        ),
        (
            Outcome(argv=("docker", "exec", "x", "sh", "-c", "one\ntwo"), exit_code=0),
            "ran (exit status 0, 0.00 s): docker exec x sh -c 'one\\ntwo'",
        ),
    ],
)
def test_a_whole_line_without_secrets(run: Outcome, line: str) -> None:
    assert run.line == line
