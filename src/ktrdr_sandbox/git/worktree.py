"""Adding a worktree with its branch, and taking both back, however far it got."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import failed, git, try_git, wait_for_git_on
from ktrdr_sandbox.git.repository import (
    Repository,
    Worktree,
    commit_of,
    foreign_files,
    is_branch_name,
    remotes_with_branch,
    worktrees,
)
from ktrdr_sandbox.process import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What a new worktree will hold.

    `creates_branch` tells that `branch` does not exist yet and starts at `start` (a commit);
    `tracks` is the remote branch it will follow, or None.
    """

    branch: str
    creates_branch: bool
    start: str
    tracks: str | None = None


def choose_checkout(repository: Repository, *, name: str, branch: str | None) -> Checkout:
    """By the product contract: `--branch B` is checked out (a remote-only B becomes a tracking
    branch); without it, a free branch NAME is, else NAME is made at the current commit.

    Raises `worktree-conflict` (checked out elsewhere) and `worktree-failed` (no such branch, no
    commit yet, ambiguous remotes).
    """
    wanted = branch or name
    if not is_branch_name(repository.root, wanted):
        raise SandboxError(
            "usage",
            f"'{wanted}' is not a valid branch name.",
            details={"branch": wanted},
        )
    root = repository.root
    existing = run_in_background(lambda: commit_of(root, f"refs/heads/{wanted}"))
    remotes = run_in_background(lambda: remotes_with_branch(root, wanted))
    head = commit_of(root, "HEAD")
    if existing.result():
        for worktree in worktrees(root):
            if worktree.branch == f"refs/heads/{wanted}":
                raise checked_out(wanted, worktree.path, hints=_ways_past(worktree))
        return Checkout(branch=wanted, creates_branch=False, start=existing.result() or wanted)
    remote = _only_remote(remotes.result(), wanted)
    if remote:
        start = commit_of(repository.root, f"refs/remotes/{remote}")
        return Checkout(branch=wanted, creates_branch=True, start=start or remote, tracks=remote)
    if branch is not None:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: there is no branch '{branch}', here or on a remote.",
            hints=("Leave --branch out to start a new branch from the current commit.",),
            details={"branch": branch},
        )
    if head is None:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: {root} has no commit yet.",
            hints=("Make a first commit, then create the instance.",),
        )
    return Checkout(branch=wanted, creates_branch=True, start=head)


def checked_out(branch: str, path: Path, *, hints: Sequence[str] = ()) -> SandboxError:
    """The document's worktree conflict error, for a branch that has a worktree."""
    return SandboxError(
        "worktree-conflict",
        f"Cannot create worktree: branch '{branch}' is already checked out at '{path}'. "
        "Use a different name or checkout a different branch there first.",
        hints=hints,
        details={"branch": branch, "path": str(path)},
    )


def refuse_listed(repository: Repository, path: Path) -> None:
    """Git keeps the place of a worktree whose directory is gone: it may be on a drive that comes
    back. Raises `worktree-conflict`."""
    worktree = listed(repository.main, path)
    if worktree is None:
        return
    branch = None if worktree.branch is None else worktree.branch.removeprefix("refs/heads/")
    held = f"commit {worktree.head[:10]}" if branch is None else f"branch '{branch}'"
    raise SandboxError(
        "worktree-conflict",
        f"Cannot create worktree: git has one at '{path}' already, with {held} checked out.",
        hints=(*_ways_past(worktree), "Or use another name."),
        details={"branch": branch, "path": str(path)},
    )


def _ways_past(worktree: Worktree) -> tuple[str, ...]:
    """Nobody can go to a directory that is gone and check out something else there."""
    path = shlex.quote(str(worktree.path))
    if os.path.lexists(worktree.path):
        # What git cannot tell to be its own it does not remove.
        gone = "What is there is no worktree any more; have git forget it: git worktree prune"
        return (gone,) if worktree.prunable else ()
    if worktree.locked is None:
        return (f"Its directory is gone; have git forget it: git worktree remove --force {path}",)
    reason = f" ({worktree.locked})" if worktree.locked else ""
    return (
        f"It is locked{reason}: its directory may be on a drive that is not there now.",
        f"If it is gone for good: git worktree remove --force --force {path}",
    )


def _only_remote(remotes: Sequence[str], branch: str) -> str | None:
    if len(remotes) > 1:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: branch '{branch}' is on several remotes: "
            f"{', '.join(remotes)}.",
            hints=(f"Make it first: git branch --track {branch} {remotes[0]}",),
            details={"branch": branch, "remotes": list(remotes)},
        )
    return remotes[0] if remotes else None


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


def add_worktree(addition: Addition) -> str | None:
    """Add the worktree and, where it is new, its branch; a warning where a hook of git's failed.

    Raises `worktree-failed`, and `worktree-conflict` for a branch that git's list of worktrees does
    not show: in a rebase or a bisection its worktree counts as detached.
    """
    checkout, main = addition.checkout, addition.main
    if checkout.creates_branch:
        _make_branch(addition)
    arguments = ["worktree", "add", "--quiet", str(addition.path), checkout.branch]
    outcome = try_git(arguments, cwd=main)
    if outcome.exit_code == 0:
        return None
    # Git takes back what it cannot finish. What stays is whole: a hook ended with that status.
    if (outcome.exit_code or -1) > 0 and addition.path.is_dir() and listed(main, addition.path):
        said = outcome.text or f"exit status {outcome.exit_code}"
        return f"git's post-checkout hook failed in {addition.path}; the worktree stays: {said}"
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


def _not_added(path: Path, outcome: Outcome) -> SandboxError:
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
    # One that was being added has no branch yet when git was killed early on.
    if entry and entry.branch not in (f"refs/heads/{addition.checkout.branch}", None):
        return
    if path.is_dir() and not path.is_symlink():
        # The link to the repository git writes first.
        if all(inside.name == ".git" and inside.is_file() for inside in path.iterdir()):
            (path / ".git").unlink(missing_ok=True)
            path.rmdir()
        elif entry is not None and foreign_files(path, addition.checkout.branch):
            save(path)
    if entry is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=addition.main)


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
