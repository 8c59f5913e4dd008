"""A home on a full or read-only file system, or one that belongs to somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repositories import repository

# Runs in a mount namespace of its own, so that nothing of it can stay behind.
DRIVER = """
import os, subprocess, sys
from pathlib import Path

world, kib = Path(sys.argv[1]), int(sys.argv[2])
home, filler = world / "home", world / "home" / "filler"
home.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home)], check=True)

def fill(free):
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(handle, b"x" * 4096) == 4096:
            pass
    except OSError:
        pass
    os.close(handle)
    os.truncate(filler, filler.stat().st_size // 4096 * 4096 - free * 1024)

def sandbox(*arguments):
    argv = [sys.executable, "-m", "ktrdr_sandbox", *arguments]
    done = subprocess.run(argv, cwd=world / "ktrdr", capture_output=True, text=True)
    print(arguments[0], done.returncode, flush=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done

def git(*arguments):
    argv = ["git", *arguments]
    return subprocess.run(argv, cwd=world / "ktrdr", capture_output=True, text=True).stdout

def nothing_is_left():
    left = [p for p in world.iterdir() if "ktrdr--" in p.name]
    assert not left, left
    assert git("worktree", "list").count("\\n") == 1, git("worktree", "list")
    assert git("status", "--porcelain") == ""
    assert not list((home / "sandbox" / "journal").glob("*"))

sandbox("create", "settled")
fill(kib)
first = sandbox("create", "feat-x")
assert first.returncode in (0, 73), first
if first.returncode == 73:
    assert "No space left on device" in first.stderr, first.stderr
    assert "hint:" in first.stderr, first.stderr
    if "git tries" not in first.stderr:
        assert not (world / "ktrdr--feat-x").exists()
sandbox("list")
filler.unlink()
second = sandbox("create", "feat-x")
assert second.returncode == (0 if first.returncode else 3), second
fill(kib)
ended = sandbox("destroy", "feat-x", "--yes")
assert ended.returncode in (0, 73), ended
filler.unlink()
for name in ("feat-x", "settled"):
    ended = sandbox("destroy", name, "--yes")
    assert ended.returncode in (0, 66), ended
nothing_is_left()
print("end")
"""


def unshared(*argv: str) -> list[str]:
    """Whoever is not root becomes it in a user namespace."""
    more = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *more, *argv]


@pytest.mark.parametrize("kib", [0, 8, 16, 40])
def test_create_on_a_full_disk_is_told_and_can_be_repeated(tmp_path: Path, kib: int) -> None:
    argv = unshared(sys.executable, "-c", DRIVER, str(tmp_path), str(kib))
    done = run_driver(tmp_path, argv)
    if kib <= 8 or kib >= 40:  # where between the two it begins to fit differs by file system
        assert ("create 73" in done.stdout) == (kib <= 8), done.stdout


READ_ONLY = """
import subprocess, sys
from pathlib import Path

world = Path(sys.argv[1])
home = world / "home"

def sandbox(*arguments):
    argv = [sys.executable, "-m", "ktrdr_sandbox", *arguments]
    done = subprocess.run(argv, cwd=world / "ktrdr", capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    print(arguments[0], done.returncode, flush=True)
    return done

assert sandbox("create", "feat-x").returncode == 0
subprocess.run(["mount", "--bind", str(home), str(home)], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", str(home)], check=True)
assert "feat-x" in sandbox("list").stdout
for arguments in (("create", "other"), ("destroy", "feat-x", "--yes"), ("down", "feat-x")):
    done = sandbox(*arguments)
    assert done.returncode == 73, done
    assert "Read-only file system" in done.stderr, done.stderr
assert (world / "ktrdr--feat-x" / ".env.sandbox").exists()
assert not (world / "ktrdr--other").exists()
subprocess.run(["umount", str(home)], check=True)
assert sandbox("destroy", "feat-x", "--yes").returncode == 0
print("end")
"""


def run_driver(tmp_path: Path, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts above in a world with a repository; it must come to its end."""
    repository(tmp_path / "ktrdr")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "docker").write_text("#!/bin/sh\nexit 0\n")  # an engine that has nothing
    (commands / "docker").chmod(0o755)
    done = subprocess.run(
        argv,
        env={
            **os.environ,
            "KTRDR_HOME": str(tmp_path / "home"),
            "PATH": f"{commands}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("end\n"), done.stdout
    return done


def test_a_read_only_home_is_told_and_loses_nothing(tmp_path: Path) -> None:
    run_driver(tmp_path, unshared(sys.executable, "-c", READ_ONLY, str(tmp_path)))


OTHER_USER = """
import subprocess, sys
from pathlib import Path

world = Path(sys.argv[1])
argv = [sys.executable, "-m", "ktrdr_sandbox"]
for arguments in (("list",), ("create", "feat-x"), ("status", "feat-x")):
    done = subprocess.run(
        [*argv, *arguments], cwd=world / "ktrdr", capture_output=True, text=True
    )
    assert done.returncode == 73, done
    assert "Permission denied" in done.stderr, done.stderr
    assert "hint:" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
assert not (world / "ktrdr--feat-x").exists()
print("end")
"""


def test_a_home_that_belongs_to_another_user_is_told(tmp_path: Path) -> None:
    """Nobody but its owner may read it; being root would help, so that is given up first."""
    home = tmp_path / "home"
    (home / "sandbox").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(home, 1234, 1234)
    home.chmod(0o700 if os.geteuid() == 0 else 0)
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    argv = [sys.executable, "-c", OTHER_USER, str(tmp_path)]
    try:
        run_driver(tmp_path, [*powerless, *argv] if os.geteuid() == 0 else argv)
    finally:
        home.chmod(0o700)
