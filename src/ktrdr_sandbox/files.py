"""Writing files so that a reader, or a crash, sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError


def cannot_write(path: Path, error: OSError) -> SandboxError:
    """The one error for a place that must take a file and does not."""
    return SandboxError(
        "cannot-write",
        f"Cannot write {path}: {error.strerror or error}.",
        hints=("Check the free space and the permissions there, or point KTRDR_HOME elsewhere.",),
        details={"path": str(path), "errno": error.errno},
    )


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Create a folder and its parents, durably, shared as the one around is. `cannot-write`."""
    try:
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for folder in reversed(missing):
            _wait_until_open(folder.parent)
            folder.mkdir(exist_ok=True, mode=mode if folder == path else 0o777)
            if private_mode(folder.parent) != _PRIVATE:
                if folder.stat().st_uid == os.geteuid():
                    folder.chmod(stat.S_ISGID | 0o770)
                else:
                    _wait_until_open(folder)
            follow_owner(folder)
            sync_folder(folder.parent)
        path.mkdir(exist_ok=True)  # what is there may be no folder
        _wait_until_open(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _wait_until_open(folder: Path) -> None:
    """Another user's command may have made it a moment ago, and have to open it to its group yet.
    What is older stays as it is."""
    until = time.monotonic() + _OPENING
    while not os.access(folder, os.W_OK) and time.monotonic() < until:
        if time.time() - folder.stat().st_ctime > _OPENING:
            return
        time.sleep(0.01)


_OPENING: Final = 2.0  # seconds
_PRIVATE: Final = 0o600


def private_mode(folder: Path) -> int:
    """The mode of a file that is nobody else's business, in a folder that may not be there yet.

    A folder that its group may write and that hands the group on (`chmod g+ws`) was made for
    several users to share: then the group reads and writes the file too, whatever the umask.
    """
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    with contextlib.suppress(OSError):
        wanted = stat.S_ISGID | stat.S_IWGRP
        if there.stat().st_mode & wanted == wanted:
            return 0o660
    return _PRIVATE


def follow_owner(path: Path) -> None:
    """What root makes in somebody's folder is theirs: one `sudo` must not lock them out."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        around = path.parent.stat()
        if around.st_uid != 0 and path.lstat().st_uid == 0:
            os.chown(path, around.st_uid, around.st_gid, follow_symlinks=False)


def temporary_name(path: Path) -> Path:
    """Where `replace_file` prepares the new content of a file."""
    return path.with_name(f"{path.name}.tmp")


def replace_file(path: Path, content: str, *, mode: int, errors: str = "strict") -> None:
    """Put `content` in place at once: temporary file beside it, fsync, rename, fsync the folder.

    Writers of one file hold its lock. So the temporary file has one fixed name, and what a killed
    writer left of it is gone with the next write. `errors` is for text that is not UTF-8.

    Raises `cannot-write`; the former file is then untouched and no temporary file stays.
    """
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        _write(os.open(temporary, flags, _PRIVATE), content.encode("utf-8", errors), mode)
        follow_owner(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:  # an interrupt, too, must leave no half-written secret behind
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def create_file(path: Path, content: bytes, *, mode: int) -> None:
    """Put a new file in place at once, in a folder that is there. Raises FileExistsError rather
    than replace what has come into its place meanwhile, and OSError; then nothing stays.
    """
    import tempfile  # few need it, and it takes its time

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        _write(handle, content, mode)
        move_to_nothing(temporary, path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write(handle: int, content: bytes, mode: int) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def move_to_nothing(temporary: Path, path: Path) -> None:
    """A second name for the file, which fails where the name is taken; `rename` would not."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without second names
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals in a folder survive a loss of power, where it can."""
    # Without it a power loss may forget the rename itself. Some file systems refuse it: no harm.
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
