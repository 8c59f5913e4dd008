"""A repository, its worktrees and its branches."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import failed, git, try_git
from ktrdr_sandbox.models import ENV_FILE_NAME

HIDDEN: Final = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
"""What git is to ignore; the second is what a kill while it was being replaced leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """One entry of `git worktree list`. `branch` is a full ref, None when detached or bare."""

    path: Path
    head: str
    branch: str | None
    prunable: bool = False
    locked: str | None = None
    """Why somebody locked it with `git worktree lock`, "" without a reason; None when unlocked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository seen from one of its worktrees."""

    root: Path  # the worktree that contains the directory asked from
    main: Path  # the first worktree
    common_dir: Path

    @property
    def is_linked(self) -> bool:
        """Whether `root` is a linked worktree rather than the main one."""
        return self.root != self.main


def locate(start: Path) -> Repository:
    """The repository around a directory. Raises `not-a-repository`, and `git-failed` for one that
    git refuses to work in."""
    outcome = try_git(["rev-parse", "--show-toplevel"], cwd=start)
    no_tree = r"not a git repository|must be run in a work tree|cannot be used without a working"
    if outcome.exit_code and re.search(no_tree, outcome.stderr):
        raise SandboxError(
            "not-a-repository",
            f"{start} is not inside a git repository with a working tree.",
            hints=("Go to your KTRDR checkout and run the command there.",),
            details={"path": str(start), "git": outcome.stderr.strip()},
        )
    if outcome.exit_code:
        raise failed(outcome)
    root = _path(outcome.stdout)
    # The list begins with the main worktree, by git's documentation.
    return Repository(root=root, main=worktrees(root)[0].path, common_dir=common_dir(root))


def common_dir(cwd: Path) -> Path:
    """The shared folder of the repository around a directory, a bare one too. `git-failed`."""
    return _path(git(["rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=cwd))


def _path(line: str) -> Path:
    """The one path of an output; a path may itself hold a line's end."""
    return Path(line.removesuffix("\n"))


def worktrees(cwd: Path) -> list[Worktree]:
    """All worktrees of the repository, the main one first."""
    found = []
    for block in git(["worktree", "list", "--porcelain", "-z"], cwd=cwd).split("\0\0"):
        lines = (line.partition(" ") for line in block.split("\0") if line)
        if fields := {key: value for key, _, value in lines}:
            worktree = Worktree(
                path=Path(fields["worktree"]),
                head=fields.get("HEAD", ""),
                branch=fields.get("branch"),
                prunable="prunable" in fields,
                locked=fields.get("locked"),
            )
            found.append(worktree)
    return found


def commit_of(cwd: Path, name: str) -> str | None:
    """The commit a name stands for, or None."""
    outcome = try_git(["rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], cwd=cwd)
    return outcome.stdout.strip() if outcome.exit_code == 0 else None


def is_branch_name(cwd: Path, name: str) -> bool:
    """Whether git takes it as a branch name; keeps options and refs with tricks out."""
    return try_git(["check-ref-format", "--branch", name], cwd=cwd).exit_code == 0


def remotes_with_branch(cwd: Path, branch: str) -> list[str]:
    """Remote-tracking refs (`origin/B`) of that branch name."""
    text = git(["for-each-ref", "--format=%(refname)", f"refs/remotes/*/{branch}"], cwd=cwd)
    return [line.removeprefix("refs/remotes/") for line in text.splitlines()]


def foreign_files(root: Path, branch: str) -> tuple[str, ...]:
    """Files that are not, byte for byte, those of the branch; ignored ones and ours left out.

    Unlike `git status` it needs no index: in a worktree that git was still filling there is none.
    """
    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        index = Path(folder) / "index"
        outcome = try_git(["read-tree", branch], cwd=root, index=index)
        if outcome.exit_code:  # git cannot even tell its branch: no checkout happened
            return tuple(sorted(path.name for path in root.iterdir() if path.name != ".git"))
        status = ["status", "--porcelain=v1", "-z", "--untracked-files=all"]
        text = git(status, cwd=root, index=index)
    found = [entry for entry in text.split("\0") if entry and entry[1:2] != "D"]
    return tuple(entry[3:] for entry in found if entry[3:] not in HIDDEN)


def current_branch(root: Path) -> str | None:
    """Short name of the branch checked out, or None when HEAD is detached."""
    outcome = try_git(["symbolic-ref", "--quiet", "--short", "HEAD"], cwd=root)
    return outcome.stdout.strip() if outcome.exit_code == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`checked_out_at` is the worktree that has it, or ""; `remote` is set for remote-only ones."""

    name: str
    checked_out_at: str = ""
    remote: str = ""


def list_branches(cwd: Path) -> list[Branch]:
    """Local branches, those last committed to first, then remote-only ones; [] outside any."""
    order = ["--sort=-committerdate", "--format=%(refname)%00%(worktreepath)%00%(symref)"]
    try:
        outcome = try_git(["for-each-ref", *order, "refs/heads", "refs/remotes"], cwd=cwd)
    except SandboxError:
        return []
    local: dict[str, Branch] = {}
    remote: dict[str, Branch] = {}
    for line in outcome.stdout.splitlines() if outcome.exit_code == 0 else ():
        reference, path, symbolic = line.split("\0")
        if reference.startswith("refs/heads/"):
            name = reference.removeprefix("refs/heads/")
            local[name] = Branch(name=name, checked_out_at=path)
        elif not symbolic:
            origin, _, name = reference.removeprefix("refs/remotes/").partition("/")
            remote.setdefault(name, Branch(name=name, remote=origin))
    return [*local.values(), *(one for name, one in remote.items() if name not in local)]
