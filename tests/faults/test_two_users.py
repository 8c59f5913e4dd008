"""One KTRDR_HOME and two users of the machine: shared by a group, or used by root in between."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories import repository

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
    pytest.mark.timeout(300),
]

GROUP, ONE, TWO = 54_300, 54_301, 54_302


class User:
    """Somebody with a repository and a home directory of their own."""

    def __init__(self, folder: Path, uid: int, home: Path) -> None:
        self.uid, self.home = uid, home
        self.folder = folder / f"user-{uid}"
        self.folder.mkdir()
        commands = self.folder / "bin"
        commands.mkdir()
        (commands / "docker").write_text("#!/bin/sh\nexit 0\n")  # an engine that has nothing
        (commands / "docker").chmod(0o755)
        repository(self.folder / "ktrdr")
        if uid:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, uid, uid, follow_symlinks=False)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(sys.executable, "-m", "ktrdr_sandbox", *arguments),
            cwd=self.folder / "ktrdr",
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def argv(self, *argv: str) -> list[str]:
        if not self.uid:
            return list(argv)
        ids = [f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={GROUP}"]
        return ["setpriv", *ids, *argv]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        config = self.folder / "gitconfig"
        return {
            **os.environ,
            "HOME": str(self.folder),
            "PATH": path,
            "KTRDR_HOME": str(self.home),
            "GIT_CONFIG_GLOBAL": str(config),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to all on the way there, which pytest's own is not."""
    made = Path("/tmp") / f"ktrdr-users-{os.getpid()}"
    made.mkdir(mode=0o755)
    probe = ["setpriv", f"--reuid={ONE}", "--clear-groups", sys.executable, "-c", "import typer"]
    if subprocess.run(probe, cwd=made, capture_output=True, check=False).returncode:
        made.rmdir()
        pytest.skip("other users cannot run this Python")
    yield made
    shutil.rmtree(made)


def instances(home: Path) -> dict[str, int]:
    text = (home / "sandbox" / "instances.json").read_text(encoding="utf-8")
    return {key: entry["slot"] for key, entry in json.loads(text)["instances"].items()}


def test_a_home_that_a_group_shares(folder: Path) -> None:
    """Both at once, two each: every slot once, each ends its own, neither is locked out."""
    home = folder / "home"
    home.mkdir()
    os.chown(home, 0, GROUP)
    home.chmod(stat.S_ISGID | 0o770)
    users = [User(folder, ONE, home), User(folder, TWO, home)]
    done: list[subprocess.CompletedProcess[str]] = []

    def act(user: User, verb: str) -> None:
        for number in range(2):
            yes = ["--yes"] if verb == "destroy" else []
            done.append(user.run(verb, f"of-{user.uid}-{number}", *yes))

    for verb, count in (("create", 4), ("destroy", 0)):
        threads = [threading.Thread(target=act, args=(user, verb)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.returncode for one in done] == [0] * len(done), done
        taken = instances(home)
        assert len(taken) == len(set(taken.values())) == count
    names = users[0].run("list")
    assert names.stdout == "No instances. Create one: ktrdr-sandbox create <name>\n", names
    assert {path.name for path in (home / "sandbox" / "journal").iterdir()} == set()
    registry = (home / "sandbox" / "instances.json").stat()
    assert (stat.S_IMODE(registry.st_mode), registry.st_gid) == (0o660, GROUP)


HOLDER = """
import sys, time
from pathlib import Path
from ktrdr_sandbox.locking import hold
with hold(Path(sys.argv[1]), purpose="create feat-x", patience=5.0, tell=print):
    print("held", flush=True)
    time.sleep(600)
"""


def held(holder: subprocess.Popen[str]) -> dict[str, str]:
    """Nothing, when the lock is held."""
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return {}


def test_a_lock_of_another_user_is_waited_for_and_freed_by_a_crash(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    os.chown(home, 0, GROUP)
    home.chmod(stat.S_ISGID | 0o770)
    one, two = User(folder, ONE, home), User(folder, TWO, home)
    lock = home / "sandbox" / "instances.lock"
    argv = one.argv(sys.executable, "-c", HOLDER, str(lock))
    with (
        subprocess.Popen(argv, env=one.environment, stdout=subprocess.PIPE, text=True) as holder,
        subprocess.Popen(
            two.argv(sys.executable, "-m", "ktrdr_sandbox", "create", "mine"),
            cwd=two.folder / "ktrdr",
            env=two.environment | held(holder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting,
    ):
        assert waiting.stderr is not None
        told = waiting.stderr.readline()
        holder.kill()
        _, rest = waiting.communicate()
    assert told == f"Waiting for another ktrdr-sandbox (pid {holder.pid}, create feat-x)\n", rest
    assert waiting.returncode == 0, rest
    assert list(instances(home)) == ["ktrdr--mine"]


def test_what_root_makes_in_somebodys_home_is_theirs(folder: Path) -> None:
    """`sudo ktrdr-sandbox create` once must not lock its user out of every later command."""
    owner = User(folder, ONE, folder / f"user-{ONE}" / ".ktrdr")
    assert owner.run("create", "mine").returncode == 0
    root = User(folder, 0, owner.home)
    made = root.run("create", "by-root")
    assert made.returncode == 0, made
    wrong = [path for path in (owner.home, *owner.home.rglob("*")) if path.lstat().st_uid != ONE]
    assert wrong == []
    listed = owner.run("list")
    assert listed.returncode == 0, listed
    assert "by-root" in listed.stdout
    assert owner.run("destroy", "mine", "--yes").returncode == 0
    assert root.run("destroy", "by-root", "--yes").returncode == 0
    assert instances(owner.home) == {}
