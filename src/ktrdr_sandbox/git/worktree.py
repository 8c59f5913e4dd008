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

_CANNOT: Final = "Cannot create worktree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What a new worktree will hold."""

    branch: str
    creates_branch: bool  # it does not exist yet and starts at `start`
    start: str  # a commit
    tracks: str | None = None  # the remote branch it will follow


def choose_checkout(repository: Repository, *, name: str, branch: str | None) -> Checkout:
    """By the product contract: `--branch B` is checked out (a remote-only B becomes a tracking
    branch); without it, a free branch NAME is, else NAME is made at the current commit.

    Raises `worktree-conflict` (checked out elsewhere) and `worktree-failed` (no such branch, no
    commit yet, ambiguous remotes).
    """
    root, wanted = repository.root, branch or name
    if not is_branch_name(root, wanted):
        message = f"'{wanted}' is not a valid branch name."
        raise SandboxError("usage", message, details={"branch": wanted})
    asked = run_in_background(lambda: commit_of(root, f"refs/heads/{wanted}"))
    remotes = run_in_background(lambda: remotes_with_branch(root, wanted))
    head = commit_of(root, "HEAD")
    if existing := asked.result():
        for worktree in worktrees(root):
            if worktree.branch == f"refs/heads/{wanted}":
                raise _checked_out(wanted, worktree.path, hints=_ways_past(worktree))
        return Checkout(branch=wanted, creates_branch=False, start=existing)
    if remote := _only_remote(remotes.result(), wanted):
        start = commit_of(root, f"refs/remotes/{remote}") or remote
        return Checkout(branch=wanted, creates_branch=True, start=start, tracks=remote)
    if branch is not None:
        message = f"{_CANNOT}: there is no branch '{branch}', here or on a remote."
        hint = "Leave --branch out to start a new branch from the current commit."
        raise SandboxError("worktree-failed", message, hints=(hint,), details={"branch": branch})
    if head is None:
        message = f"{_CANNOT}: {root} has no commit yet."
        hint = "Make a first commit, then create the instance."
        raise SandboxError("worktree-failed", message, hints=(hint,))
    return Checkout(branch=wanted, creates_branch=True, start=head)


def _only_remote(remotes: Sequence[str], branch: str) -> str | None:
    if len(remotes) > 1:
        raise SandboxError(
            "worktree-failed",
            f"{_CANNOT}: branch '{branch}' is on several remotes: {', '.join(remotes)}.",
            hints=(f"Make it first: git branch --track {branch} {remotes[0]}",),
            details={"branch": branch, "remotes": list(remotes)},
        )
    return remotes[0] if remotes else None


def _checked_out(branch: str, path: Path, *, hints: Sequence[str] = ()) -> SandboxError:
    """The document's worktree conflict error, for a branch that has a worktree."""
    return SandboxError(
        "worktree-conflict",
        f"{_CANNOT}: branch '{branch}' is already checked out at '{path}'. "
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
        f"{_CANNOT}: git has one at '{path}' already, with {held} checked out.",
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


def listed(main: Path, path: Path) -> Worktree | None:
    """Git's entry for a worktree at that place."""
    wanted = path.resolve()
    return next((one for one in worktrees(main) if one.path.resolve() == wanted), None)


def repair_worktree(main: Path, path: Path) -> None:
    """Have git know a worktree by the place it was moved to. Raises `git-failed`."""
    git(["worktree", "repair", str(path)], cwd=main)


def forget_worktree(main: Path, common_dir: Path, path: Path) -> None:
    """Take a worktree whose directory is gone from git's list. Raises `git-failed`.

    Others are left alone, so no `worktree prune`: a directory that is not there may be on a drive
    that comes back.
    """
    _forget_broken_entries(common_dir, path)
    if listed(main, path) is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=main)


def _forget_broken_entries(common_dir: Path, path: Path) -> None:
    """What a git that was killed left of its notes on a worktree it was making or removing.

    Such an entry names no place, so git neither lists it nor can be told to remove it; or it names
    no repository, and git fails over it in every command.
    """
    for entry in sorted((common_dir / "worktrees").glob(f"{glob.escape(path.name)}*")):
        number = entry.name.removeprefix(path.name)
        if number and not number.isdigit():
            continue
        place = _text(entry / "gitdir")  # may be written as seen from the entry
        is_here = place and (entry / place).parent.resolve() == path.resolve()
        if not place or (is_here and _text(entry / "commondir") == ""):
            shutil.rmtree(entry, ignore_errors=True)


def _text(file: Path) -> str | None:
    try:
        return os.fsdecode(file.read_bytes()).removesuffix("\n")
    except OSError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A worktree about to be added, as it must be known to take it back after a kill.

    `main` and `common_dir` are the repository's.
    """

    main: Path
    common_dir: Path
    path: Path
    checkout: Checkout
    token: str  # marks the branch as made for this addition
    known: bool  # whether git lists a worktree at `path` already, which is then not ours

    @property
    def reference(self) -> str:
        return f"refs/heads/{self.checkout.branch}"

    @property
    def origin(self) -> str:
        """What the reflog tells of a branch that was made for this."""
        return f"branch: Created by ktrdr-sandbox ({self.token})"


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
    path, main, checkout = addition.path, addition.main, addition.checkout
    if checkout.creates_branch:
        # By itself and with a reflog entry of its own, so that it is known later whose it is. Git
        # makes the ref only if there is none: of two programs that try, one fails.
        arguments = ["update-ref", "--create-reflog", "-m", addition.origin, addition.reference]
        _must_add(path, try_git([*arguments, checkout.start, "0" * len(checkout.start)], cwd=main))
        if checkout.tracks:
            follow = f"--set-upstream-to={checkout.tracks}"
            _must_add(path, try_git(["branch", "--quiet", follow, checkout.branch], cwd=main))
    outcome = try_git(["worktree", "add", "--quiet", str(path), checkout.branch], cwd=main)
    # Git takes back what it cannot finish. What stays is whole: a hook ended with that status.
    if (outcome.exit_code or -1) > 0 and path.is_dir() and listed(main, path):
        said = outcome.text or f"exit status {outcome.exit_code}"
        return f"git's post-checkout hook failed in {path}; the worktree stays: {said}"
    _must_add(path, outcome)
    return None


_CHECKED_OUT: Final = re.compile(
    r"^fatal: '(?P<branch>.+)' is already (?:checked out|used by worktree) at '(?P<path>.+)'$", re.M
)
"""Git 2.43 changed the words."""


def _must_add(path: Path, outcome: Outcome) -> None:
    if outcome.exit_code == 0:
        return
    if found := _CHECKED_OUT.search(outcome.stderr):
        raise _checked_out(found["branch"], Path(found["path"]))
    said, status = outcome.stderr, outcome.exit_code
    raise SandboxError(
        "worktree-failed",
        f"{_CANNOT} at {path}: {said.strip() or 'git gave no reason'}",
        hints=failed(outcome).hints,
        details={"argv": list(outcome.argv), "stderr": said, "exit_code": status},
    )


def take_back_worktree(addition: Addition, *, save: Callable[[Path], None]) -> None:
    """Undo `add_worktree`, whether it ran wholly, in part or not at all.

    One that git listed before is never touched, nor a directory that git does not list, unless
    nothing is in it: it may belong to another program that was quicker. `save` is called to move
    a directory to safety that holds what git did not put there.
    """
    if not addition.main.is_dir():
        return
    wait_for_git_on(str(addition.path), addition.reference)
    if not addition.known:
        _forget_broken_entries(addition.common_dir, addition.path)
        _take_back_directory(addition, save)
    if addition.checkout.creates_branch:
        _take_back_branch(addition)


def _take_back_directory(addition: Addition, save: Callable[[Path], None]) -> None:
    path = addition.path
    entry = listed(addition.main, path)
    # One that was being added has no branch yet when git was killed early on.
    if entry and entry.branch not in (addition.reference, None):
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
    main, reference = addition.main, addition.reference
    if commit_of(main, reference) != addition.checkout.start:
        return
    log = try_git(["log", "--walk-reflogs", "--format=%gs", reference, "--"], cwd=main)
    if log.exit_code == 0 and addition.origin in log.stdout.splitlines():
        try_git(["branch", "--quiet", "-D", addition.checkout.branch], cwd=main)
