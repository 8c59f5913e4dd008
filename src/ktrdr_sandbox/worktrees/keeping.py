"""What git has of a worktree and forgets with it, put into a directory that is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from ktrdr_sandbox.durable import cannot_write, temporary_name
from ktrdr_sandbox.worktrees.git import git, try_git

COMMITS: Final = "lost-commits.bundle"
"""In a directory that is kept: its commits that no branch reaches, to `git fetch` from."""

MODULES: Final = "git-modules"
"""In a directory that is kept: the repositories of its submodules."""


def keep_git_data(common_dir: Path, kept: Path) -> None:
    """Put into a worktree that was moved aside what git has of it and forgets with it.

    Any number of times, until git has forgotten it. Raises `git-failed` and `cannot-write`.
    """
    outcome = try_git(["rev-parse", "--path-format=absolute", "--git-dir"], cwd=kept)
    own = Path(outcome.stdout.removesuffix("\n"))
    if outcome.exit_code or own.resolve().parent != common_dir.resolve() / "worktrees":
        return  # forgotten already
    from ktrdr_sandbox.worktrees.unsaved import ONLY_HERE, lost_commits

    if lost_commits(kept):
        bundle = ["bundle", "create", "--quiet", str(kept / COMMITS), "HEAD"]
        git([*bundle, *ONLY_HERE], cwd=kept)
    if (own / "modules").is_dir():
        _copy_modules(own / "modules", kept / MODULES)


def _copy_modules(modules: Path, copy: Path) -> None:
    partial = temporary_name(copy)
    try:
        if not copy.exists():
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(modules, partial, symlinks=True)
            _cut_loose(partial)
            partial.rename(copy)
    except OSError as error:  # `shutil.Error` is one, with all failures as its only argument
        raise cannot_write(copy, error) from error


def _cut_loose(modules: Path) -> None:
    """Each names the directory of its files, which is gone; no git would read it any more."""
    for config in modules.rglob("config"):
        if (config.parent / "HEAD").is_file():
            unset = ["config", "--file", str(config), "--unset-all", "core.worktree"]
            try_git(unset, cwd=modules)
