"""Locks that die with their holder, and files that are whole or as before."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import files
from tests.lab.errors import EXIT_LOCKED, LockBusyError

HOLDER = """
import sys, time
from pathlib import Path
from tests.lab.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def holder(path: Path) -> subprocess.Popen[bytes]:
    clone = Path(__file__).parents[3]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, cwd=clone
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_a_held_lock_is_waited_for_and_said(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holder(path) as child:
        with pytest.raises(LockBusyError) as busy, files.lock(path, limit=0.3):
            pass
        child.kill()
    assert busy.value.code == EXIT_LOCKED
    assert capsys.readouterr().err == f"lab: waiting for another run of the lab ({path})\n"


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    with holder(path) as child:
        child.send_signal(signal.SIGKILL)
    with files.lock(path, limit=0):
        pass


def test_a_lock_can_be_taken_again(path: Path) -> None:
    for _ in range(2):
        with files.lock(path, limit=0):
            pass


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.replace(path, "before")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("tests.lab.files.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.replace(path, "after")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"file": "before"}
