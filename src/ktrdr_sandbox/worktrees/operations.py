"""Adding and removing worktrees, and hiding `.env.sandbox` from git."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.durable import cannot_write, make_folder
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME
from ktrdr_sandbox.worktrees.git import GitOutcome, failed, git, try_git
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
    existing = commit_of(repository.root, f"refs/heads/{wanted}")
    if existing:
        _refuse_checked_out(repository, wanted)
        return Checkout(branch=wanted, creates_branch=False, start=existing)
    remote = _only_remote(repository, wanted)
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
    return _from_current_commit(repository, wanted)


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


def _only_remote(repository: Repository, branch: str) -> str | None:
    remotes = remotes_with_branch(repository.root, branch)
    if len(remotes) > 1:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: branch '{branch}' is on several remotes: "
            f"{', '.join(remotes)}.",
            hints=(f"Make it first: git branch --track {branch} {remotes[0]}",),
            details={"branch": branch, "remotes": remotes},
        )
    return remotes[0] if remotes else None


def _from_current_commit(repository: Repository, branch: str) -> Checkout:
    head = commit_of(repository.root, "HEAD")
    if head is None:
        raise SandboxError(
            "worktree-failed",
            f"Cannot create worktree: {repository.root} has no commit yet.",
            hints=("Make a first commit, then create the instance.",),
        )
    return Checkout(branch=branch, creates_branch=True, start=head)


@contextmanager
def added_worktree(repository: Repository, path: Path, checkout: Checkout) -> Iterator[None]:
    """Add the worktree; if the block or git itself fails, take worktree and new branch away again.

    Raises `worktree-failed` with git's own words.
    """
    made_branch, known = False, True
    try:
        if checkout.creates_branch:
            _make_branch(repository, path, checkout)
            made_branch = True
        known = _is_worktree(repository, path, checkout)
        outcome = try_git(
            ["worktree", "add", "--quiet", str(path), checkout.branch], cwd=repository.main
        )
        if outcome.exit_code:
            raise _not_added(path, outcome)
        yield
    except BaseException:
        # git takes back its own half-made worktree, but leaves it standing after a post-checkout
        # hook that fails or is interrupted. One that we did not add is never touched: the
        # directory may belong to another program that was quicker.
        if not known and _is_worktree(repository, path, checkout):
            try_git(["worktree", "remove", "--force", "--force", str(path)], cwd=repository.main)
        if made_branch:
            _take_back_branch(repository, checkout)
        raise


def _make_branch(repository: Repository, path: Path, checkout: Checkout) -> None:
    """By itself rather than with the worktree: so it is known whose the branch is afterwards."""
    tracking = "--track" if checkout.tracks else "--no-track"
    start = checkout.tracks or checkout.start
    outcome = try_git(["branch", "--quiet", tracking, checkout.branch, start], cwd=repository.main)
    if outcome.exit_code:
        raise _not_added(path, outcome)


def _is_worktree(repository: Repository, path: Path, checkout: Checkout) -> bool:
    """Whether git lists a worktree at that place with the checkout's branch."""
    return any(
        worktree.path.resolve() == path.resolve()
        and worktree.branch == f"refs/heads/{checkout.branch}"
        for worktree in worktrees(repository.main)
    )


def _not_added(path: Path, outcome: GitOutcome) -> SandboxError:
    error = failed(outcome)
    reason = error.stderr.strip() or "git gave no reason"
    return SandboxError(
        "worktree-failed",
        f"Cannot create worktree at {path}: {reason}",
        details={"argv": list(error.argv), "stderr": error.stderr, "exit_code": error.exit_code},
    )


def _take_back_branch(repository: Repository, checkout: Checkout) -> None:
    """Delete a branch made for a worktree that did not come to be.

    Only where it still is at its start, so that a commit made in the meantime keeps it; git itself
    refuses one that is checked out somewhere.
    """
    if commit_of(repository.main, f"refs/heads/{checkout.branch}") == checkout.start:
        try_git(["branch", "--quiet", "-D", checkout.branch], cwd=repository.main)


def remove_worktree(repository_dir: Path, path: Path) -> None:
    """Remove a worktree whose loss was already ruled out or confirmed. Raises `git-failed`.

    One whose directory is gone is taken from git's list. Git refuses a locked one. Others are left
    alone, so no `worktree prune`: a directory that is not there may be on a drive that comes back.
    """
    known = {worktree.path.resolve() for worktree in worktrees(repository_dir)}
    if path.resolve() in known:
        git(["worktree", "remove", "--force", str(path)], cwd=repository_dir)


@contextmanager
def excluded_env_file(repository: Repository) -> Iterator[None]:
    """Have git ignore `.env.sandbox` by the repository's own `info/exclude`, unless it does.

    No tracked file is touched. When the block fails, a line that this call added goes again.
    """
    path = repository.common_dir / "info" / "exclude"
    added = False
    if try_git(["check-ignore", "--quiet", ENV_FILE_NAME], cwd=repository.root).exit_code != 0:
        _append_line(path, f"/{ENV_FILE_NAME}")
        added = True
    try:
        yield
    except BaseException:
        if added:
            _remove_line(path, f"/{ENV_FILE_NAME}")
        raise


def _append_line(path: Path, line: str) -> None:
    try:
        make_folder(path.parent)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        newline = "" if not text or text.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{newline}{line}\n")
    except OSError as error:
        raise cannot_write(path, error) from error


def _remove_line(path: Path, line: str) -> None:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(one for one in lines if one.strip() != line), encoding="utf-8")
