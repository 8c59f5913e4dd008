"""What a new worktree is to hold: which branch, and whether that has to be made."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.questions import asked
from ktrdr_sandbox.worktrees.entries import listed
from ktrdr_sandbox.worktrees.repository import (
    Repository,
    Worktree,
    commit_of,
    is_branch_name,
    remotes_with_branch,
    worktrees,
)


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
    existing, remotes, head = _ask(repository.root, wanted)
    if existing:
        _refuse_checked_out(repository, wanted)
        return Checkout(branch=wanted, creates_branch=False, start=existing)
    remote = _only_remote(remotes, wanted)
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
    return _from_current_commit(repository, head, wanted)


def _ask(root: Path, branch: str) -> tuple[str | None, list[str], str | None]:
    """All that decides what is checked out, asked at once: the commit of a branch of that name,
    the remotes that have one, and the current commit."""
    existing = asked(lambda: commit_of(root, f"refs/heads/{branch}"))
    remotes = asked(lambda: remotes_with_branch(root, branch))
    head = commit_of(root, "HEAD")
    return existing.result(), remotes.result(), head


def _refuse_checked_out(repository: Repository, branch: str) -> None:
    for worktree in worktrees(repository.root):
        if worktree.branch == f"refs/heads/{branch}":
            raise checked_out(branch, worktree.path, hints=_ways_past(worktree))


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


def _from_current_commit(repository: Repository, head: str | None, branch: str) -> Checkout:
    if head is None:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: {repository.root} has no commit yet.",
            hints=("Make a first commit, then create the instance.",),
        )
    return Checkout(branch=branch, creates_branch=True, start=head)
