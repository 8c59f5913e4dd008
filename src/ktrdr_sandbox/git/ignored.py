"""Hiding `.env.sandbox` from git, by a file of the repository that nobody tracks."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.git.git import git, try_git
from ktrdr_sandbox.git.repository import worktrees
from ktrdr_sandbox.models import ENV_FILE_NAME

INCLUDE_FILE: Final = ".worktreeinclude"
_NEVER: Final = frozenset({".git", ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp"})
_AT_ONCE: Final = 500
"""Paths on one command line."""


def include_patterns(main: Path) -> tuple[str, ...]:
    """The lines of the main worktree's `.worktreeinclude`. Raises `bad-settings`."""
    path = main / INCLUDE_FILE
    if not path.is_file():
        return ()
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise SandboxError(
            "bad-settings",
            f"Cannot read {path}: {error.strerror}.",
            details={"path": str(path)},
        ) from error
    return tuple(text.splitlines())


def included(main: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Files to copy, relative to the main worktree: untracked, ignored, and matched.

    Later patterns win over earlier ones, as in a `.gitignore`. A name that ends in / is a
    repository of its own. Raises `git-failed`.
    """
    wanted = [line for line in patterns if line.strip() and not line.startswith("#")]
    if not wanted or not (main / ".git").exists():  # a bare repository has no files
        return ()
    listed = _split(git([*_IGNORED, "--exclude-standard", "--directory", "-z"], cwd=main))
    places = [name for name in listed if not name.endswith("/") or _is_named(name, wanted)]
    import tempfile  # slow to load, and few need it

    with tempfile.TemporaryDirectory(prefix="ktrdr-sandbox-") as folder:
        rules = Path(folder) / "patterns"
        text = "".join(f"{line}\n" for line in patterns)
        rules.write_text(text, encoding="utf-8", errors="surrogateescape")
        matching = ["--literal-pathspecs", *_IGNORED, f"--exclude-from={rules}", "-z", "--"]
        found = [
            name
            for some in _portions(places)
            for name in _split(git([*matching, *some], cwd=main))
            if _NEVER.isdisjoint(name.split("/"))
        ]
    really = ignored(main, found)
    return tuple(sorted(name for name in set(found) if name in really))


_IGNORED: Final = ("ls-files", "--others", "--ignored")


def ignored(root: Path, names: Iterable[str]) -> frozenset[str]:
    """Those that git ignores in that worktree and does not track. Raises `git-failed`."""
    given = "".join(f"{name}\0" for name in names)
    if not given:
        return frozenset()
    outcome = try_git(["check-ignore", "--stdin", "-z"], cwd=root, stdin=given)
    if outcome.exit_code not in (0, 1):  # 1: none of them
        git(["check-ignore", "--stdin", "-z"], cwd=root, stdin=given)
    return frozenset(_split(outcome.stdout))


def _split(text: str) -> list[str]:
    return [name for name in text.split("\0") if name]


def _portions(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _is_named(folder: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern may match a folder that is ignored as a whole, or something in it by its
    path. Only tells where to look; what matches is git's word."""
    parts = folder.rstrip("/").split("/")
    return any(_names(pattern.strip(), parts) for pattern in patterns if pattern[0] != "!")


def _names(pattern: str, parts: Sequence[str]) -> bool:
    steps = pattern.rstrip("/").split("/")
    if len(steps) == 1 or steps[0] == "**":  # at any depth
        first = steps[0] if len(steps) == 1 else steps[1]
        return any(fnmatchcase(part, first) for part in parts)
    if not steps[0]:
        steps = steps[1:]
    for step, part in zip(steps, parts, strict=False):
        if step == "**":
            return True
        if not fnmatchcase(part, step):
            return False
    return True


_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_LINKED: Final = "a link there leads elsewhere"
_THERE: Final = "it is there already"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Names relative to the worktree. `left_out` maps those that were not copied to why."""

    copied: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


class _LeftOut(Exception):  # noqa: N818  not an error: a file that stays behind
    """Why one file is not copied."""


def size_of(main: Path, names: Sequence[str]) -> int:
    """Bytes of these files together, as far as they can be seen."""
    total = 0
    for name in names:
        try:
            total += (main / name).lstat().st_size
        except OSError:
            continue
    return total


def copy_into(main: Path, worktree: Path, names: Sequence[str]) -> Copies:
    """Copy files with their modes and times, links as links. Raises `cannot-write`, `git-failed`.

    A file that git does not ignore in the new worktree stays behind: the next `git add` would
    commit it, and it may well hold a secret.
    """
    left_out: dict[str, str] = {}
    candidates = []
    for name in names:
        reason = _obstacle(main, worktree, name)
        if reason is None:
            candidates.append(name)
        else:
            left_out[name] = reason
    safe = ignored(worktree, candidates)
    copied = []
    for name in candidates:
        try:
            if name not in safe:
                raise _LeftOut("the branch does not ignore it")
            _copy(main, worktree, name)
            copied.append(name)
        except _LeftOut as why:
            left_out[name] = str(why)
    return Copies(copied=tuple(copied), left_out=tuple(sorted(left_out.items())))


def _obstacle(main: Path, worktree: Path, name: str) -> str | None:
    if name.endswith("/"):
        return "it is a repository of its own"
    for parent in reversed(Path(name).parents[:-1]):
        place = worktree / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return _LINKED if place.is_symlink() else "a file is in the way"
    if os.path.lexists(worktree / name):
        return _THERE
    try:
        mode = (main / name).lstat().st_mode
    except OSError as error:
        return error.strerror or str(error)
    if stat.S_ISLNK(mode):
        return _leaving(main, name)
    return None if stat.S_ISREG(mode) else "it is no regular file"


def _leaving(main: Path, name: str) -> str | None:
    """A link out of the checkout: from there the new worktree would share what it points at."""
    goal = _goal(main / name)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), goal))
    if posixpath.isabs(goal) or inside.split("/")[0] == "..":
        return f"it is a link to {goal}, out of the checkout"
    return None


def _copy(main: Path, worktree: Path, name: str) -> None:
    with _folder(main, worktree, Path(name).parent) as folder:
        try:
            if (main / name).is_symlink():
                _copy_link(main, name, folder)
            else:
                _copy_file(main, name, folder)
        except FileExistsError as error:
            raise _LeftOut(_THERE) from error
        except OSError as error:
            raise cannot_write(worktree / name, error) from error


def _copy_link(main: Path, name: str, folder: int) -> None:
    os.symlink(_goal(main / name), posixpath.basename(name), dir_fd=folder)


def _goal(link: Path) -> str:
    return os.readlink(link)  # noqa: PTH115  the text itself, of which a Path makes another


def _copy_file(main: Path, name: str, folder: int) -> None:
    try:
        source = os.open(main / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _LeftOut(f"it cannot be read: {error.strerror}") from error
    with os.fdopen(source, "rb") as reading:
        facts = os.fstat(source)
        # Not readable by others for the moment that it takes to copy it.
        target = os.open(posixpath.basename(name), _NEW, 0o600, dir_fd=folder)
        with os.fdopen(target, "wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fchmod(target, stat.S_IMODE(facts.st_mode) & 0o777)
            os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@contextmanager
def _folder(main: Path, worktree: Path, relative: Path) -> Iterator[int]:
    """The opened folder of the worktree, made where it is missing, with the mode it has in main."""
    handle = os.open(worktree, _FOLDER)
    try:
        seen = main
        for part in relative.parts:
            seen = seen / part
            deeper = _enter(handle, part, seen, worktree / relative)
            os.close(handle)
            handle = deeper
        yield handle
    finally:
        os.close(handle)


def _enter(above: int, part: str, original: Path, place: Path) -> int:
    try:
        try:
            return os.open(part, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            os.mkdir(part, 0o700, dir_fd=above)
            handle = os.open(part, _FOLDER, dir_fd=above)
            os.fchmod(handle, stat.S_IMODE(original.stat().st_mode) & 0o777 | 0o700)
            return handle
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _LeftOut(_LINKED) from error
        raise cannot_write(place, error) from error


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
