"""What a new worktree is to hold: which branch, and whether that has to be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.questions import asked
from ktrdr_sandbox.worktrees.repository import (
    Repository,
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
        if worktree.branch == f"refs/heads/{branch}" and not worktree.prunable:
            raise SandboxError(
                "worktree-conflict",
                f"Cannot create worktree: branch '{branch}' is already checked out at "
                f"'{worktree.path}'. Use a different name or checkout a different branch there "
                "first.",
                details={"branch": branch, "path": str(worktree.path)},
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
