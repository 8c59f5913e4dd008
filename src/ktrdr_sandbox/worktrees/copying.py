"""Copies ignored files into a new worktree: nothing is overwritten, and nothing leaves it.

A branch may bring along a link where a folder is expected. So each folder on the way is opened from
the one above it, and no link is followed.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.durable import cannot_write
from ktrdr_sandbox.worktrees.inclusion import ignored

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
