"""Files that git ignores: those that come along to a new worktree, and our `.env.sandbox`."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.git.git import failed, git, try_git
from ktrdr_sandbox.git.repository import HIDDEN, worktrees
from ktrdr_sandbox.models import ENV_FILE_NAME

_NEVER: Final = frozenset({".git", *HIDDEN})


def include_patterns(main: Path) -> tuple[str, ...]:
    """The lines of the main worktree's `.worktreeinclude`. Raises `bad-settings`."""
    path = main / ".worktreeinclude"
    if not path.is_file():
        return ()
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        message = f"Cannot read {path}: {error.strerror}."
        raise SandboxError("bad-settings", message, details={"path": str(path)}) from error
    return tuple(text.splitlines())


def included(main: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Files to copy, relative to the main worktree: untracked, ignored, and matched.

    Later patterns win over earlier ones, as in a `.gitignore`. A name that ends in / is a
    repository of its own. Raises `git-failed`.
    """
    wanted = [line for line in patterns if line.strip() and not line.startswith("#")]
    if not wanted or not (main / ".git").exists():  # a bare repository has no files
        return ()
    listing = ["ls-files", "--others", "--ignored", "--directory", "-z"]
    listed = _whole(_split(git([*listing, "--exclude-standard"], cwd=main)))
    unnamed = tuple(name for name in listed if name.endswith("/") and not _is_named(name, wanted))
    # Git looks into no folder that is matched as a whole, so into node_modules only when asked to.
    closed = [re.sub(r"([*?\[\\])", r"\\\1", name) for name in unnamed if "\n" not in name]
    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        rules = Path(folder) / "patterns"
        text = "".join(f"{line}\n" for line in (*patterns, *(f"/{name}" for name in closed)))
        rules.write_text(text, encoding="utf-8", errors="surrogateescape")
        matching = _whole(_split(git([*listing, f"--exclude-from={rules}"], cwd=main)))
    found = {
        name
        for match in matching
        if not match.startswith(unnamed)
        for name in (_files_in(main, match) if match.endswith("/") else (match,))
        if _NEVER.isdisjoint(name.split("/"))
    }
    return tuple(sorted(found & ignored(main, found)))


def _whole(names: Sequence[str]) -> list[str]:
    """Without the folders that git lists beside their files, as nothing else is in them."""
    around = {f"{parent}/" for name in names for parent in Path(name).parents}
    return [name for name in names if name not in around]


def _files_in(main: Path, folder: str) -> Iterator[str]:
    """All files below, and repositories as one entry each."""
    for here, folders, files in os.walk(main / folder):
        place = f"{os.path.relpath(here, main)}/"
        if ".git" in (*folders, *files):
            folders.clear()
            yield place
        else:
            links = [name for name in folders if (Path(here) / name).is_symlink()]
            yield from (f"{place}{name}" for name in (*files, *links))


def _is_named(folder: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern may match a folder that is ignored as a whole, or something in it by its
    path: a `.env` of a package in `node_modules` is not meant. What matches is git's word."""
    parts = folder.rstrip("/").split("/")
    return any(_names(pattern.strip(), parts) for pattern in patterns if pattern[0] != "!")


def _names(pattern: str, parts: Sequence[str]) -> bool:
    steps = pattern.rstrip("/").split("/")
    if len(steps) == 1 or steps[0] == "**":  # at any depth
        first = steps[0] if len(steps) == 1 else steps[1]
        return any(fnmatchcase(part, first) for part in parts)
    for step, part in zip(steps if steps[0] else steps[1:], parts, strict=False):
        if step == "**":
            return True
        if not fnmatchcase(part, step):
            return False
    return True


def ignored(root: Path, names: Iterable[str]) -> frozenset[str]:
    """Those that git ignores in that worktree and does not track. Raises `git-failed`."""
    given = "".join(f"{name}\0" for name in names)
    if not given:
        return frozenset()
    outcome = try_git(["check-ignore", "--stdin", "-z"], cwd=root, stdin=given)
    if outcome.exit_code not in (0, 1):  # 1: none of them
        raise failed(outcome)
    return frozenset(_split(outcome.stdout))


def _split(text: str) -> list[str]:
    return [name for name in text.split("\0") if name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Names relative to the worktree. `left_out` maps those that were not copied to why."""

    copied: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def size_of(main: Path, names: Sequence[str]) -> int:
    """Bytes of these files together, as far as they can be seen."""
    total = 0
    for name in names:
        with contextlib.suppress(OSError):
            total += (main / name).lstat().st_size
    return total


def copy_into(main: Path, worktree: Path, names: Sequence[str]) -> Copies:
    """Copy files with their modes and times, links as links. Raises `cannot-write`, `git-failed`.

    A file that git does not ignore in the new worktree stays behind: the next `git add` would
    commit it, and it may well hold a secret.
    """
    left_out: dict[str, str] = {}
    safe = ignored(worktree, [name for name in names if not _obstacle(main, worktree, name)])
    for name in names:
        reason = _obstacle(main, worktree, name)
        if not reason and name not in safe:
            reason = "the branch does not ignore it"
        if reason := reason or _copy(main, worktree, name):
            left_out[name] = reason
    copied = tuple(name for name in names if name not in left_out)
    return Copies(copied=copied, left_out=tuple(sorted(left_out.items())))


_THERE: Final = "it is there already"


def _obstacle(main: Path, worktree: Path, name: str) -> str | None:
    if name.endswith("/"):
        return "it is a repository of its own"
    for parent in reversed(Path(name).parents[:-1]):
        place = worktree / parent
        if place.is_symlink():
            return "a link there leads elsewhere"
        if place.exists() and not place.is_dir():
            return "a file is in the way"
    if os.path.lexists(worktree / name):
        return _THERE
    try:
        mode = (main / name).lstat().st_mode
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISLNK(mode):
        return None if stat.S_ISREG(mode) else "it is no regular file"
    # From a link out of the checkout the new worktree would share what it points at.
    goal = _goal(main / name)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), goal))
    leaves = posixpath.isabs(goal) or inside.split("/")[0] == ".."
    return f"it is a link to {goal}, out of the checkout" if leaves else None


def _goal(link: Path) -> str:
    return os.readlink(link)  # noqa: PTH115  the text itself, of which a Path makes another


def _copy(main: Path, worktree: Path, name: str) -> str | None:
    """Copy one file; why not, where it stays behind."""
    source, target = main / name, worktree / name
    try:
        for parent in reversed(Path(name).parents):
            if not (worktree / parent).is_dir():
                mode = stat.S_IMODE((main / parent).stat().st_mode)
                (worktree / parent).mkdir()
                (worktree / parent).chmod(mode & 0o777 | 0o700)
        if source.is_symlink():
            target.symlink_to(_goal(source))
            return None
        try:
            reading = source.open("rb")
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        with reading:
            facts = os.fstat(reading.fileno())
            # Not readable by others for the moment that it takes to copy it.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(target, flags, 0o600), "wb") as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
        target.chmod(stat.S_IMODE(facts.st_mode) & 0o777)
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    except FileExistsError:
        return _THERE
    except OSError as error:
        raise cannot_write(target, error) from error
    return None


_LINES: Final = ("# ktrdr-sandbox", *(f"/{name}" for name in HIDDEN))


def is_hidden(root: Path) -> bool:
    """Whether git ignores `.env.sandbox` already, by whatever rule."""
    outcome = try_git(["check-ignore", *HIDDEN], cwd=root)
    return len(outcome.stdout.splitlines()) == len(HIDDEN)


def hide_env_file(common_dir: Path) -> None:
    """Have git ignore `.env.sandbox` by the repository's own `info/exclude`.

    No tracked file is touched. Needs the repository's lock. Raises `cannot-write`.
    """
    lines = _excluded(common_dir)
    if _ours_at(lines) is None:
        _write_excluded(common_dir, [*lines, *_LINES])


def show_env_file(main: Path, common_dir: Path) -> None:
    """Undo `hide_env_file` once no worktree of the repository has such a file.

    Needs the repository's lock. Raises `cannot-write`.
    """
    if not main.is_dir():
        return
    with contextlib.suppress(OSError):
        temporary_name((common_dir / "info" / "exclude").resolve()).unlink(missing_ok=True)
    lines = _excluded(common_dir)
    needed = any((worktree.path / ENV_FILE_NAME).is_file() for worktree in worktrees(main))
    at = _ours_at(lines)
    if at is not None and not needed:
        _write_excluded(common_dir, [*lines[:at], *lines[at + len(_LINES) :]])


def _ours_at(lines: Sequence[str]) -> int | None:
    starts = [at for at in range(len(lines)) if tuple(lines[at : at + len(_LINES)]) == _LINES]
    return starts[0] if starts else None


def _excluded(common_dir: Path) -> list[str]:
    path = common_dir / "info" / "exclude"
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_excluded(common_dir: Path, lines: Sequence[str]) -> None:
    path = (common_dir / "info" / "exclude").resolve()  # a symlink to a file elsewhere stays one
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    text = "".join(f"{line}\n" for line in lines)
    replace_file(path, text, mode=mode, errors="surrogateescape")
