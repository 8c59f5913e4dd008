"""Puts files in place whole: a final name has the old content or the new, never a part of either.

A new file is written without any name, where the file system can do that, and linked into place
when it is complete: a kill leaves nothing at all. A file that replaces another, and every file
where names are needed from the start, is written in the staging folder and renamed; what a kill
leaves there the next run removes. Linking fails where something has taken the name meanwhile, so
that what a running stack writes is never overwritten by surprise.

Nothing is fsynced: that would make 20,000 small files take minutes. A power cut may therefore leave
files short; they have the time of their source and not its size, and the next run copies them anew.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write
from ktrdr_sandbox.shared_data.layout import STAGING
from ktrdr_sandbox.shared_data.plans import Seen

_UNNAMED: Final[int | None] = getattr(os, "O_TMPFILE", None)
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}
_BAD_NAME: Final = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class NameTakenError(Exception):
    """Something has the final name that was not there, or not so, when the run began."""


class UnusableNameError(Exception):
    """The file system takes no such name."""


class Draft:
    """One file that is being written. `fd` is where its content goes."""

    __slots__ = ("_folder", "_name", "_staging", "fd")

    def __init__(self, fd: int, folder: int, staging: int, name: str | None) -> None:
        self.fd = fd
        self._folder = folder
        self._staging = staging
        self._name = name

    def place(self, name: str) -> None:
        """Give it its final name, which nothing has. Raises NameTakenError, UnusableNameError."""
        try:
            if self._name is None:
                # Python calls linkat, which follows /proc's link, only when given a folder.
                os.link(_of(self.fd), name, dst_dir_fd=self._folder, follow_symlinks=True)
            else:
                self._link_named(self._name, name)
        except FileExistsError:
            raise NameTakenError from None
        except OSError as error:
            if error.errno in _BAD_NAME:
                raise UnusableNameError(error.strerror) from error
            raise

    def _link_named(self, draft: str, name: str) -> None:
        try:
            os.link(draft, name, src_dir_fd=self._staging, dst_dir_fd=self._folder)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here. The moment between looking and renaming cannot be avoided.
            with contextlib.suppress(FileNotFoundError):
                os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                raise NameTakenError from None
            os.rename(draft, name, src_dir_fd=self._staging, dst_dir_fd=self._folder)
            self._name = None

    def place_over(self, name: str, expected: Seen | os.stat_result) -> None:
        """Take the place of what was there when the run began. Raises NameTakenError."""
        if self._name is None:
            raise ValueError("a draft that replaces another file needs a name")
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            if (now.st_size, now.st_mtime_ns) != (expected.st_size, expected.st_mtime_ns):
                raise NameTakenError
        os.rename(self._name, name, src_dir_fd=self._staging, dst_dir_fd=self._folder)
        self._name = None

    def close(self) -> None:
        """Let go of it; what was not placed is gone."""
        os.close(self.fd)
        if self._name is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._staging)


class Staging:
    """Makes drafts. One for each device that the shared folders lie on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STAGING
        self._counter = itertools.count()
        self._unnamed: int | None = None
        self._umask = _umask()
        self.fd = -1

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Staging]:
        """An empty staging folder in `folder` for the block. Raises `cannot-write`."""
        made = cls(folder)
        remove_staging(folder)
        try:  # from before it is made: an interrupt may come at any moment
            try:
                made._path.mkdir(mode=0o700)
                made.fd = os.open(made._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                made._unnamed = _UNNAMED if _takes_unnamed(made.fd) else None
            except OSError as error:
                raise cannot_write(made._path, error) from error
            yield made
        finally:
            if made.fd >= 0:
                os.close(made.fd)
            remove_staging(folder)

    def draft(self, folder: int, mode: int, *, named: bool) -> Draft:
        """A draft for a folder, with the permissions its file will have."""
        if self._unnamed is not None and not named:
            fd = os.open(".", self._unnamed | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=folder)
            return Draft(self._with_mode(fd, mode), folder, self.fd, None)
        name = f"{os.getpid()}-{next(self._counter)}.part"  # several processes write here
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, mode, dir_fd=self.fd)
        return Draft(self._with_mode(fd, mode), folder, self.fd, name)

    def unnamed(self) -> tuple[int, int] | None:
        """Flags for a file without a name, and the bits its mode loses; None where it needs one."""
        return None if self._unnamed is None else (self._unnamed, self._umask)

    def _with_mode(self, fd: int, mode: int) -> int:
        if mode & self._umask:
            os.fchmod(fd, mode)
        return fd

    def link_over(self, target: str, name: str, folder: int) -> None:
        """Put a symbolic link in place of what has that name."""
        draft = f"{next(self._counter)}.link"
        os.symlink(target, draft, dir_fd=self.fd)
        os.rename(draft, name, src_dir_fd=self.fd, dst_dir_fd=folder)


def _of(fd: int) -> str:
    """The name by which a file without one can be linked."""
    return f"/proc/self/fd/{fd}"


def _takes_unnamed(folder: int) -> bool:
    """Whether files can be written without a name there: not on NFS or without /proc, say."""
    if _UNNAMED is None:
        return False
    try:
        fd = os.open(".", _UNNAMED | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError:
        return False
    try:
        os.link(_of(fd), "probe", dst_dir_fd=folder, follow_symlinks=True)
        os.unlink("probe", dir_fd=folder)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def remove_staging(folder: Path) -> None:
    """Remove what a killed run left. Raises `cannot-write`."""
    path = folder / STAGING
    try:
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            import shutil

            shutil.rmtree(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def no_room(folder: Path, *, needed: int, free: int) -> SandboxError:
    """The error for a copy that does not fit, in bytes."""
    return SandboxError(
        "cannot-write",
        f"Not enough room in {folder}: {_megabytes(needed)} are needed and {_megabytes(free)} "
        "are free.",
        hints=("Free some, or point KTRDR_HOME at another disk.",),
        details={"path": str(folder), "needed": needed, "free": free},
    )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _umask() -> int:
    # There is no way to read it but to set it; this happens before any thread starts.
    found = os.umask(0o022)
    os.umask(found)
    return found
