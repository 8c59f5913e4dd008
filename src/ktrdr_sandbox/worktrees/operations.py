"""Adding worktrees and taking them back, and hiding `.env.sandbox` from git."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.durable import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME
from ktrdr_sandbox.questions import asked
from ktrdr_sandbox.worktrees.git import GitOutcome, failed, git, try_git, wait_for_git_on
from ktrdr_sandbox.worktrees.repository import (
    Repository,
    Worktree,
    commit_of,
    foreign_files,
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
        known=_listed(repository.main, path) is not None,
    )


def add_worktree(addition: Addition) -> None:
    """Add the worktree and, where it is new, its branch. Raises `worktree-failed`."""
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


def _listed(main: Path, path: Path) -> Worktree | None:
    """Git's entry for a worktree at that place."""
    for worktree in worktrees(main):
        if worktree.path.resolve() == path.resolve():
            return worktree
    return None


def _not_added(path: Path, outcome: GitOutcome) -> SandboxError:
    error = failed(outcome)
    reason = error.stderr.strip() or "git gave no reason"
    return SandboxError(
        "worktree-failed",
        f"Cannot create worktree at {path}: {reason}",
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
        _forget_broken_entries(addition.common_dir, addition.path)
        _take_back_directory(addition, save)
    if addition.checkout.creates_branch:
        _take_back_branch(addition)


def _take_back_directory(addition: Addition, save: Callable[[Path], None]) -> None:
    path = addition.path
    listed = _listed(addition.main, path)
    if listed is not None and not _is_ours(listed, addition):
        return
    if path.is_dir() and not path.is_symlink():
        if _is_blank(path):
            (path / ".git").unlink(missing_ok=True)
            path.rmdir()
        elif listed is not None and foreign_files(path, addition.checkout.branch):
            save(path)
    if listed is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=addition.main)


def _is_ours(listed: Worktree, addition: Addition) -> bool:
    """A worktree that was being added has no branch yet when git was killed early on."""
    return listed.branch in (f"refs/heads/{addition.checkout.branch}", None)


def _is_blank(path: Path) -> bool:
    """Nothing but perhaps the link to the repository, which git writes first."""
    return all(entry.name == ".git" and entry.is_file() for entry in path.iterdir())


def _forget_broken_entries(common_dir: Path, path: Path) -> None:
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


def repair_worktree(main: Path, path: Path) -> None:
    """Have git know a worktree by the place it was moved to. Raises `git-failed`."""
    git(["worktree", "repair", str(path)], cwd=main)


def forget_worktree(main: Path, common_dir: Path, path: Path) -> None:
    """Take a worktree whose directory is gone from git's list. Raises `git-failed`.

    Others are left alone, so no `worktree prune`: a directory that is not there may be on a drive
    that comes back.
    """
    _forget_broken_entries(common_dir, path)
    if _listed(main, path) is not None:
        git(["worktree", "remove", "--force", "--force", str(path)], cwd=main)


# -- keeping what git has of a worktree ----------------------------------------------------------

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


# -- hiding the environment file -----------------------------------------------------------------

_HIDDEN: Final = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
"""The second is what a kill while it was being replaced leaves."""
_ORIGIN: Final = "# ktrdr-sandbox"
_LINES: Final = (_ORIGIN, *(f"/{name}" for name in _HIDDEN))


def is_hidden(root: Path) -> bool:
    """Whether git ignores `.env.sandbox` already, by whatever rule."""
    outcome = try_git(["check-ignore", *_HIDDEN], cwd=root)
    return len(outcome.stdout.splitlines()) == len(_HIDDEN)


def hide_env_file(common_dir: Path) -> None:
    """Have git ignore `.env.sandbox` by the repository's own `info/exclude`.

    No tracked file is touched. Needs the repository's lock. Raises `cannot-write`.
    """
    lines = _excluded(common_dir)
    if not _has_ours(lines):
        _write_excluded(common_dir, [*lines, *_LINES])


def show_env_file(main: Path, common_dir: Path) -> None:
    """Undo `hide_env_file` once no worktree of the repository has such a file.

    Needs the repository's lock. Raises `cannot-write`.
    """
    if not main.is_dir():
        return
    with contextlib.suppress(OSError):
        temporary_name(_exclude_file(common_dir).resolve()).unlink(missing_ok=True)
    lines = _excluded(common_dir)
    needed = any((worktree.path / ENV_FILE_NAME).is_file() for worktree in worktrees(main))
    if _has_ours(lines) and not needed:
        at = lines.index(_ORIGIN)
        _write_excluded(common_dir, [*lines[:at], *lines[at + len(_LINES) :]])


def _has_ours(lines: Sequence[str]) -> bool:
    at = lines.index(_ORIGIN) if _ORIGIN in lines else None
    return at is not None and tuple(lines[at : at + len(_LINES)]) == _LINES


def _exclude_file(common_dir: Path) -> Path:
    return common_dir / "info" / "exclude"


def _excluded(common_dir: Path) -> list[str]:
    path = _exclude_file(common_dir)
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_excluded(common_dir: Path, lines: Sequence[str]) -> None:
    path = _exclude_file(common_dir)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    text = "".join(f"{line}\n" for line in lines)
    # A symlink to a file elsewhere stays one.
    replace_file(path.resolve(), text, mode=mode, errors="surrogateescape")
