"""Questions to a repository: where its worktrees are, which branches exist, what would be lost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME
from ktrdr_sandbox.worktrees.git import git, try_git


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """One entry of `git worktree list`. `branch` is a full ref, None when detached or bare."""

    path: Path
    head: str
    branch: str | None
    bare: bool = False
    prunable: bool = False
    locked: str | None = None
    """Why somebody locked it with `git worktree lock`, "" without a reason; None when unlocked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository seen from one of its worktrees.

    `root` is the worktree that contains the directory asked from, `main` the first worktree.
    """

    root: Path
    main: Path
    common_dir: Path

    @property
    def is_linked(self) -> bool:
        """Whether `root` is a linked worktree rather than the main one."""
        return self.root != self.main


def locate(start: Path) -> Repository:
    """The repository around a directory. Raises `not-a-repository`."""
    outcome = try_git(["rev-parse", "--show-toplevel"], cwd=start)
    if outcome.exit_code:
        raise SandboxError(
            "not-a-repository",
            f"{start} is not inside a git repository with a working tree.",
            hints=("Go to your KTRDR checkout and run the command there.",),
            details={"path": str(start), "git": outcome.stderr.strip()},
        )
    root = _path(outcome.stdout)
    common = git(["rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=root)
    return Repository(root=root, main=_main_worktree(root), common_dir=_path(common))


def _path(line: str) -> Path:
    """The one path of an output; a path may itself hold a line's end."""
    return Path(line.removesuffix("\n"))


def _main_worktree(root: Path) -> Path:
    # The list begins with the main worktree, by git's documentation.
    return worktrees(root)[0].path


def worktrees(cwd: Path) -> list[Worktree]:
    """All worktrees of the repository, the main one first."""
    text = git(["worktree", "list", "--porcelain", "-z"], cwd=cwd)
    return [_worktree(block) for block in text.split("\0\0") if block.strip("\0")]


def _worktree(block: str) -> Worktree:
    fields = dict(_field(line) for line in block.strip("\0").split("\0"))
    return Worktree(
        path=Path(fields["worktree"]),
        head=fields.get("HEAD", ""),
        branch=fields.get("branch"),
        bare="bare" in fields,
        prunable="prunable" in fields,
        locked=fields.get("locked"),
    )


def _field(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" ")
    return key, value


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsavedWork:
    """What removing a worktree would lose. Paths are relative to its root."""

    files: tuple[str, ...] = ()
    operation: str | None = None
    commits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.operation or self.commits)

    def lines(self) -> list[str]:
        """One line for each thing, for people."""
        found = [f"{name}" for name in self.files]
        if self.operation:
            found.append(f"a {self.operation} is in progress")
        found += [f"commit on no branch: {commit}" for commit in self.commits]
        return found


def unsaved_work(root: Path) -> UnsavedWork:
    """Modified, staged and untracked files, an operation in progress, commits no ref reaches."""
    return UnsavedWork(
        files=(*_changed_files(root), *_hidden_changes(root)),
        operation=_operation(root),
        commits=_lost_commits(root),
    )


def _changed_files(root: Path) -> tuple[str, ...]:
    text = git(
        ["status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=none"],
        cwd=root,
    )
    found = []
    entries = iter(text.split("\0"))
    for entry in entries:
        if not entry:
            continue
        found.append(f"{entry[:2].strip() or '?'} {entry[3:]}")
        if entry[0] in "RC":
            next(entries, None)  # the name it was renamed from
    return tuple(found)


def foreign_files(root: Path, branch: str) -> tuple[str, ...]:
    """Files that are not, byte for byte, those of the branch; ignored ones and ours left out.

    Unlike `git status` it needs no index: in a worktree that git was still filling there is none.
    """
    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        index = Path(folder) / "index"
        outcome = try_git(["read-tree", branch], cwd=root, index=index)
        if outcome.exit_code:  # git cannot even tell its branch: no checkout happened
            return tuple(sorted(path.name for path in root.iterdir() if path.name != ".git"))
        text = git(
            ["status", "--porcelain=v1", "-z", "--untracked-files=all"], cwd=root, index=index
        )
    found = [entry for entry in text.split("\0") if entry and entry[1:2] != "D"]
    own = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
    return tuple(entry[3:] for entry in found if entry[3:] not in own)


def _hidden_changes(root: Path) -> tuple[str, ...]:
    """Edits that `git status` was told not to see: assume-unchanged and skip-worktree."""
    tagged = git(["ls-files", "-v", "-z"], cwd=root).split("\0")
    hidden = [entry[2:] for entry in tagged if entry[:1].islower() or entry[:1] == "S"]
    present = [name for name in hidden if (root / name).is_file()]
    if not present:
        return ()
    staged = git(["ls-files", "--stage", "-z", "--", *present], cwd=root).split("\0")
    committed = {entry.partition("\t")[2]: entry.split()[1] for entry in staged if entry}
    current = git(["hash-object", "--", *present], cwd=root).split()
    pairs = zip(present, current, strict=True)
    return tuple(f"M {name}" for name, content in pairs if committed.get(name) != content)


_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}


def _operation(root: Path) -> str | None:
    for name, operation in _OPERATIONS.items():
        path = git(["rev-parse", "--path-format=absolute", "--git-path", name], cwd=root)
        if _path(path).exists():
            return operation
    return None


def _lost_commits(root: Path) -> tuple[str, ...]:
    """Commits of HEAD that no branch or tag reaches; only a detached HEAD has any."""
    outcome = try_git(
        ["log", "--format=%h %s", "HEAD", "--not", "--branches", "--remotes", "--tags"], cwd=root
    )
    if outcome.exit_code:  # an unborn HEAD has no commits to lose
        return ()
    return tuple(outcome.stdout.splitlines())


def current_branch(root: Path) -> str | None:
    """Short name of the branch checked out, or None when HEAD is detached."""
    outcome = try_git(["symbolic-ref", "--quiet", "--short", "HEAD"], cwd=root)
    return outcome.stdout.strip() if outcome.exit_code == 0 else None
