"""Adding a worktree with its branch, and taking both back, however far it got."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.worktrees.checkout import Checkout, checked_out
from ktrdr_sandbox.worktrees.entries import forget_broken_entries, listed
from ktrdr_sandbox.worktrees.git import GitOutcome, failed, git, try_git, wait_for_git_on
from ktrdr_sandbox.worktrees.repository import Repository, Worktree, commit_of, foreign_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A worktree about to be added, as it must be known to take it back after a kill.

    `main` and `common_dir` are the repository's; `token` marks the branch as made for this
    addition; `known` tells that git lists a worktree at `path` already, which is then not ours.
    """

    main: Path
    common_dir: Path
    path: Path
    checkout: Checkout
    token: str
    known: bool


def plan_addition(repository: Repository, path: Path, checkout: Checkout, token: str) -> Addition:
    """Look at what is there before anything changes. Needs the repository's lock."""
    return Addition(
        main=repository.main,
        common_dir=repository.common_dir,
        path=path,
        checkout=checkout,
        token=token,
        known=listed(repository.main, path) is not None,
    )


def add_worktree(addition: Addition) -> None:
    """Add the worktree and, where it is new, its branch.

    Raises `worktree-failed`, and `worktree-conflict` for a branch that git's list of worktrees does
    not show: in a rebase or a bisection its worktree counts as detached.
    """
    checkout, main = addition.checkout, addition.main
    if checkout.creates_branch:
        _make_branch(addition)
    arguments = ["worktree", "add", "--quiet", str(addition.path), checkout.branch]
    outcome = try_git(arguments, cwd=main)
    if outcome.exit_code:
        raise _not_added(addition.path, outcome)


def _make_branch(addition: Addition) -> None:
    """By itself and with a reflog entry of its own, so that it is known later whose it is.

    Git makes the ref only if there is none: of two programs that try, one fails.
    """
    checkout, main = addition.checkout, addition.main
    arguments = ["update-ref", "--create-reflog", "-m", _origin(addition)]
    arguments += [f"refs/heads/{checkout.branch}", checkout.start, "0" * len(checkout.start)]
    outcome = try_git(arguments, cwd=main)
    if outcome.exit_code == 0 and checkout.tracks:
        arguments = ["branch", "--quiet", f"--set-upstream-to={checkout.tracks}", checkout.branch]
        outcome = try_git(arguments, cwd=main)
    if outcome.exit_code:
        raise _not_added(addition.path, outcome)


def _origin(addition: Addition) -> str:
    return f"branch: Created by ktrdr-sandbox ({addition.token})"


_CHECKED_OUT: Final = re.compile(
    r"^fatal: '(?P<branch>.+)' is already (?:checked out|used by worktree) at '(?P<path>.+)'$", re.M
)
"""Git 2.43 changed the words."""


def _not_added(path: Path, outcome: GitOutcome) -> SandboxError:
    error = failed(outcome)
    if found := _CHECKED_OUT.search(error.stderr):
        return checked_out(found["branch"], Path(found["path"]))
    reason = error.stderr.strip() or "git gave no reason"
    return SandboxError(
        "worktree-failed",
        f"Cannot create worktree at {path}: {reason}",
        hints=error.hints,
        details={"argv": list(error.argv), "stderr": error.stderr, "exit_code": error.exit_code},
    )


def take_back_worktree(addition: Addition, *, save: Callable[[Path], None]) -> None:
    """Undo `add_worktree`, whether it ran wholly, in part or not at all.

    One that git listed before is never touched, nor a directory that git does not list, unless
    nothing is in it: it may belong to another program that was quicker. `save` is called to move
    a directory to safety that holds what git did not put there.
    """
    if not addition.main.is_dir():
        return
    wait_for_git_on(str(addition.path), f"refs/heads/{addition.checkout.branch}")
    if not addition.known:
        forget_broken_entries(addition.common_dir, addition.path)
        _take_back_directory(addition, save)
    if addition.checkout.creates_branch:
        _take_back_branch(addition)


def _take_back_directory(addition: Addition, save: Callable[[Path], None]) -> None:
    path = addition.path
    entry = listed(addition.main, path)
    if entry is not None and not _is_ours(entry, addition):
        return
    if path.is_dir() and not path.is_symlink():
        if _is_blank(path):
            (path / ".git").unlink(missing_ok=True)
            path.rmdir()
        elif entry is not None and foreign_files(path, addition.checkout.branch):
            save(path)
    if entry is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=addition.main)


def _is_ours(entry: Worktree, addition: Addition) -> bool:
    """A worktree that was being added has no branch yet when git was killed early on."""
    return entry.branch in (f"refs/heads/{addition.checkout.branch}", None)


def _is_blank(path: Path) -> bool:
    """Nothing but perhaps the link to the repository, which git writes first."""
    return all(entry.name == ".git" and entry.is_file() for entry in path.iterdir())


def _take_back_branch(addition: Addition) -> None:
    """Delete a branch that this addition made, if nobody has committed on it since.

    Git itself refuses one that is checked out somewhere.
    """
    branch = addition.checkout.branch
    reference = f"refs/heads/{branch}"
    if commit_of(addition.main, reference) != addition.checkout.start:
        return
    log = try_git(["log", "--walk-reflogs", "--format=%gs", reference, "--"], cwd=addition.main)
    if log.exit_code == 0 and _origin(addition) in log.stdout.splitlines():
        try_git(["branch", "--quiet", "-D", branch], cwd=addition.main)
