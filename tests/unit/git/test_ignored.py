"""Copies into a worktree: with everything kept, nothing overwritten, nothing outside written."""

from __future__ import annotations

import os
import resource
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.ignored import Copies, copy_into
from tests.support.repositories import GitRepository, repository


@dataclass(frozen=True)
class Pair:
    """A main worktree and one beside it on a branch of its own."""

    main: GitRepository
    other: GitRepository

    def copy(self, *names: str) -> Copies:
        return copy_into(self.main.root, self.other.root, names)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    main = repository(tmp_path / "ktrdr")
    main.commit({".gitignore": ".env*\nlocal/\n"})
    return Pair(main, main.add_worktree(tmp_path / "other", "-b", "other"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_content_mode_and_time_are_kept(pair: Pair) -> None:
    pair.main.write({".env": "A=1\n", "local/run.sh": "#!/bin/sh\n"})
    (pair.main.root / ".env").chmod(0o600)
    (pair.main.root / "local").chmod(0o750)
    (pair.main.root / "local/run.sh").chmod(0o755)
    os.utime(pair.main.root / ".env", (1, 1_000_000_000))
    assert pair.copy(".env", "local/run.sh") == Copies(copied=(".env", "local/run.sh"))
    copy = pair.other.root / ".env"
    assert (copy.read_text(), mode(copy), copy.stat().st_mtime) == ("A=1\n", 0o600, 1_000_000_000)
    assert mode(pair.other.root / "local") == 0o750
    assert mode(pair.other.root / "local/run.sh") == 0o755
    assert pair.other.git("status", "--porcelain") == ""


def test_what_is_there_is_never_overwritten(pair: Pair) -> None:
    pair.main.write({".env": "main\n"})
    pair.other.write({".env": "mine\n"})
    assert pair.copy(".env") == Copies(left_out=((".env", "it is there already"),))
    assert (pair.other.root / ".env").read_text() == "mine\n"


def test_a_dangling_link_in_its_place_is_not_written_through(pair: Pair, tmp_path: Path) -> None:
    pair.main.write({".env": "main\n"})
    (pair.other.root / ".env").symlink_to(tmp_path / "elsewhere")
    assert pair.copy(".env").copied == ()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_the_branch_made_a_link_leads_nowhere(pair: Pair, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (pair.other.root / "local").symlink_to(outside)
    pair.other.git("add", "--force", "local")
    pair.other.git("commit", "--quiet", "-m", "A link")
    pair.main.write({"local/key": "secret", "local/deep/key": "secret"})
    found = pair.copy("local/deep/key", "local/key")
    assert found == Copies(
        left_out=(
            ("local/deep/key", "a link there leads elsewhere"),
            ("local/key", "a link there leads elsewhere"),
        )
    )
    assert list(outside.iterdir()) == []


def test_a_file_where_a_folder_is_needed(pair: Pair) -> None:
    pair.main.write({"local/key": ""})
    pair.other.write({"local": ""})
    assert pair.copy("local/key").left_out == (("local/key", "a file is in the way"),)


def test_links_stay_links_when_they_stay_inside(pair: Pair) -> None:
    pair.main.write({".env": "A=1\n", "local/sub/x": ""})
    links = {"local/up": "../.env", ".env.self": "./.env", "local/sub/dir": ".."}
    leaving = {".env.abs": str(pair.main.root / ".env"), "local/out": "../../x", ".env.up": ".."}
    for name, goal in {**links, **leaving}.items():
        (pair.main.root / name).symlink_to(goal)
    found = pair.copy(*links, *leaving)
    assert set(found.copied) == set(links)
    assert {name: os.readlink(pair.other.root / name) for name in links} == links  # noqa: PTH115
    assert dict(found.left_out) == {
        name: f"it is a link to {goal}, out of the checkout" for name, goal in leaving.items()
    }


def test_what_the_branch_does_not_ignore_stays_behind(pair: Pair) -> None:
    """The next `git add` would commit it."""
    pair.other.commit({".gitignore": "local/\n"})
    pair.main.write({".env": "SECRET=1\n", "local/x": ""})
    found = pair.copy(".env", "local/x")
    assert found.copied == ("local/x",)
    assert found.left_out == ((".env", "the branch does not ignore it"),)
    assert pair.other.git("status", "--porcelain") == ""


def test_things_that_are_no_files(pair: Pair) -> None:
    os.mkfifo(pair.main.root / ".env.pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(pair.main.root / ".env.sock"))
    found = pair.copy(".env.gone", ".env.pipe", ".env.sock", "local/repo/")
    assert found.copied == ()
    assert dict(found.left_out) == {
        ".env.gone": "No such file or directory",
        ".env.pipe": "it is no regular file",
        ".env.sock": "it is no regular file",
        "local/repo/": "it is a repository of its own",
    }


def test_strange_names(pair: Pair) -> None:
    names = [".env with space", ".env\nline", os.fsdecode(b".env\xff"), "local/-rf"]
    (pair.main.root / "local").mkdir()
    for name in names:
        (pair.main.root / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    assert set(pair.copy(*names).copied) == set(names)
    assert all((pair.other.root / name).is_file() for name in names)


def test_a_worktree_that_cannot_be_written(pair: Pair) -> None:
    """Root may write everywhere, but no larger a file than the system lets this process write."""
    pair.main.write({".env": "more than the limit\n"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        with pytest.raises(SandboxError) as caught:
            pair.copy(".env")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "cannot-write"
