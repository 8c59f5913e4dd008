"""Git's own entries of worktrees: found, repaired, forgotten, half-made ones too."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from ktrdr_sandbox.worktrees.git import git
from ktrdr_sandbox.worktrees.repository import Worktree, worktrees


def listed(main: Path, path: Path) -> Worktree | None:
    """Git's entry for a worktree at that place."""
    for worktree in worktrees(main):
        if worktree.path.resolve() == path.resolve():
            return worktree
    return None


def repair_worktree(main: Path, path: Path) -> None:
    """Have git know a worktree by the place it was moved to. Raises `git-failed`."""
    git(["worktree", "repair", str(path)], cwd=main)


def forget_worktree(main: Path, common_dir: Path, path: Path) -> None:
    """Take a worktree whose directory is gone from git's list. Raises `git-failed`.

    Others are left alone, so no `worktree prune`: a directory that is not there may be on a drive
    that comes back.
    """
    forget_broken_entries(common_dir, path)
    if listed(main, path) is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=main)


def forget_broken_entries(common_dir: Path, path: Path) -> None:
    """What a git that was killed left of its notes on a worktree it was making or removing.

    Such an entry names no place, so git neither lists it nor can be told to remove it; or it names
    no repository, and git fails over it in every command.
    """
    for entry in sorted((common_dir / "worktrees").glob(f"{glob.escape(path.name)}*")):
        number = entry.name.removeprefix(path.name)
        if (not number or number.isdigit()) and _is_unfinished(entry, path):
            shutil.rmtree(entry, ignore_errors=True)


def _is_unfinished(entry: Path, path: Path) -> bool:
    place = _text(entry / "gitdir")
    if not place:
        return True
    # The place may be written as seen from the entry.
    return _text(entry / "commondir") == "" and (entry / place).parent.resolve() == path.resolve()


def _text(file: Path) -> str | None:
    try:
        return os.fsdecode(file.read_bytes()).removesuffix("\n")
    except OSError:
        return None
