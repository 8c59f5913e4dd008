"""Work that removing a worktree would lose, and what git forgets with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.files import cannot_write, temporary_name
from ktrdr_sandbox.git.git import git, try_git
from ktrdr_sandbox.git.repository import commit_of, common_dir
from ktrdr_sandbox.naming import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsavedWork:
    """What removing a worktree would lose. Paths are relative to its root.

    `repositories` are lines about other repositories within it, each with its path.
    """

    files: tuple[str, ...] = ()
    operation: str | None = None
    commits: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.operation or self.commits or self.repositories)

    def lines(self) -> list[str]:
        """One line for each thing, for people and fit for a terminal."""
        operation = [f"a {self.operation} is in progress"] if self.operation else []
        commits = [f"commit on no branch: {commit}" for commit in self.commits]
        return [printable(one) for one in (*self.files, *operation, *commits, *self.repositories)]


def unsaved_work(root: Path) -> UnsavedWork:
    """Modified, staged and untracked files, an operation in progress, commits no ref reaches."""
    repositories, unreadable = _survey(root)
    return UnsavedWork(
        files=(*_changed_files(root), *_hidden_changes(root), *_unreadable(root, unreadable)),
        operation=_operation(root),
        commits=lost_commits(root),
        repositories=tuple(
            f"in {nested.relative_to(root)}: {line}"
            for nested in repositories
            for line in _lines_of_nested(nested, root)
        ),
    )


_STATUS: Final = ("status", "--porcelain=v1", "-z")


def ignored_files(root: Path) -> tuple[str, ...]:
    """What git ignores in a worktree, whole folders as one; they end with a slash."""
    text = git([*_STATUS, "--ignored=traditional", "--untracked-files=normal"], cwd=root)
    return tuple(entry[3:] for entry in text.split("\0") if entry.startswith("!! "))


def _changed_files(root: Path, *, index: Path | None = None) -> tuple[str, ...]:
    wanted = ["--untracked-files=all", "--ignore-submodules=none"]
    entries = iter(git([*_STATUS, *wanted], cwd=root, index=index).split("\0"))
    found = []
    for entry in entries:
        if entry:
            found.append(f"{entry[:2].strip() or '?'} {entry[3:]}")
        if entry[:1] in ("R", "C"):
            next(entries, None)  # the name it was renamed from
    return tuple(found)


def _hidden_changes(root: Path) -> tuple[str, ...]:
    """Edits that `git status` was told not to see: assume-unchanged and skip-worktree.

    Git itself compares them, by a copy of its index without those flags. A file that is absent,
    as all beyond a sparse checkout are, holds nothing.
    """
    tagged = git(["ls-files", "-v", "-z"], cwd=root).split("\0")
    hidden = [entry[2:] for entry in tagged if entry[:1].islower() or entry[:1] == "S"]
    present = {name for name in hidden if os.path.lexists(root / name)}
    if not present:
        return ()
    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        index = Path(folder) / "index"
        shutil.copyfile(_git_dir(root) / "index", index)
        for flag in ("--no-assume-unchanged", "--no-skip-worktree"):
            names = "".join(f"{name}\0" for name in sorted(present))
            git(["update-index", flag, "-z", "--stdin"], cwd=root, index=index, stdin=names)
        return tuple(line for line in _changed_files(root, index=index) if line[2:] in present)


def _unreadable(root: Path, folders: list[Path]) -> Iterator[str]:
    """Folders that git could not look into, and so takes for empty; ignored ones left out."""
    if not folders:
        return
    names = {f"{folder.relative_to(root)}" for folder in folders}
    ignored = try_git(["check-ignore", "-z", "--stdin"], cwd=root, stdin="\0".join(names))
    for name in sorted(names - set(ignored.stdout.split("\0"))):
        yield f"?? {name}/ (this user cannot look into it)"


_OPERATIONS: Final = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "cherry-pick or revert",
    "BISECT_LOG": "bisect",
}


def _operation(root: Path) -> str | None:
    folder = _git_dir(root)
    return next((name for file, name in _OPERATIONS.items() if (folder / file).exists()), None)


def _git_dir(root: Path) -> Path:
    """Where git keeps what is this worktree's alone."""
    return Path(git(["rev-parse", "--absolute-git-dir"], cwd=root).removesuffix("\n"))


ONLY_HERE: Final = ("--glob=refs/worktree/*", "--not", "--branches", "--remotes", "--tags")
"""With HEAD: what git selects of a worktree that no branch or tag reaches."""


def lost_commits(root: Path) -> tuple[str, ...]:
    """Commits of HEAD, and of refs that only this worktree has, that no branch or tag reaches."""
    own = ["HEAD"] if commit_of(root, "HEAD") else []  # an unborn HEAD has no commits to lose
    return _commits(root, *own, *ONLY_HERE)


def _commits(root: Path, *selection: str) -> tuple[str, ...]:
    listing = ["log", "--format=%h %s", "--max-count=200", *selection, "--"]
    return tuple(git(listing, cwd=root).splitlines())


def _survey(root: Path) -> tuple[list[Path], list[Path]]:
    """Repositories within a worktree, and folders this user cannot look into; in ignored ones too.

    Symlinks are not followed.
    """
    repositories: list[Path] = []
    unreadable: list[Path] = []

    def note(error: OSError) -> None:
        if isinstance(error, PermissionError):  # others are gone meanwhile
            unreadable.append(Path(error.filename))

    for folder, inside, files in os.walk(root, onerror=note):
        if ".git" in (*inside, *files) and Path(folder) != root:
            repositories.append(Path(folder))
        inside[:] = [name for name in inside if name != ".git"]
    return sorted(repositories), sorted(unreadable)


def _lines_of_nested(nested: Path, root: Path) -> Iterator[str]:
    """What the directory's end would take from a repository, or a worktree of one, within it."""
    top = try_git(["rev-parse", "--show-toplevel"], cwd=nested)
    if top.exit_code:
        yield "a repository that git cannot read"
        return
    if Path(top.stdout.removesuffix("\n")) != nested.resolve():
        return  # something called .git that is none
    common = common_dir(nested).resolve()
    # The repository's data is in the worktree or, as a submodule's, in git's notes on it.
    if any(common.is_relative_to(place.resolve()) for place in (root, _git_dir(root))):
        commits = _local_commits(nested)
    else:
        yield "it is a worktree of its own"
        commits = lost_commits(nested)
    yield from UnsavedWork(
        files=(*_changed_files(nested), *_hidden_changes(nested)), operation=_operation(nested)
    ).lines()
    yield from (f"commit that is only here: {commit}" for commit in commits)


def _local_commits(root: Path) -> tuple[str, ...]:
    """Commits of a whole repository that no remote of it is known to have.

    The first commits of a shallow clone came from one, though no remote's branch may reach them.
    """
    starts = [name for name in ("HEAD", "refs/stash") if commit_of(root, name)]
    came = ["--remotes", "--tags"]
    with contextlib.suppress(FileNotFoundError):
        came += (common_dir(root) / "shallow").read_text(encoding="ascii").split()
    return _commits(root, *starts, "--branches", "--not", *came)


# In a directory that is kept: commits that no branch reaches, to `git fetch` from, and the
# repositories of its submodules.
COMMITS: Final = "lost-commits.bundle"
MODULES: Final = "git-modules"


def keep_git_data(common_dir: Path, kept: Path) -> None:
    """Put into a worktree that was moved aside what git has of it and forgets with it.

    Any number of times, until git has forgotten it. Raises `git-failed` and `cannot-write`.
    """
    outcome = try_git(["rev-parse", "--path-format=absolute", "--git-dir"], cwd=kept)
    own = Path(outcome.stdout.removesuffix("\n"))
    if outcome.exit_code or own.resolve().parent != common_dir.resolve() / "worktrees":
        return  # forgotten already

    if lost_commits(kept):
        bundle = ["bundle", "create", "--quiet", str(kept / COMMITS), "HEAD"]
        git([*bundle, *ONLY_HERE], cwd=kept)
    modules, copy = own / "modules", kept / MODULES
    if not modules.is_dir() or copy.exists():
        return
    partial = temporary_name(copy)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(modules, partial, symlinks=True)
        # Each names the directory of its files, which is gone; no git would read it any more.
        for config in partial.rglob("config"):
            if (config.parent / "HEAD").is_file():
                unset = ["config", "--file", str(config), "--unset-all", "core.worktree"]
                try_git(unset, cwd=partial)
        partial.rename(copy)
    except OSError as error:  # `shutil.Error` is one, with all failures as its only argument
        raise cannot_write(copy, error) from error
