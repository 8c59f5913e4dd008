"""Deleting a directory for good, the trash, and what is mounted inside a directory."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder, sync_folder
from ktrdr_sandbox.paths import Home

_PARTIAL: Final = ".partial"
_STAMP: Final = "%Y%m%dT%H%M%S"


def delete(directory: Path, *, engine: Engine | None, images: Sequence[str], uuid: str) -> None:
    """Delete a directory; nothing when it is gone. Raises `teardown-incomplete`.

    `images`: references to try for the container that is needed where files belong to root;
    without an engine there is none.
    """
    if not os.path.lexists(directory):
        return
    mounts = mounts_in(directory)
    if mounts:  # deleting would go on in what is mounted there, which is somebody's elsewhere
        raise SandboxError(
            "teardown-incomplete",
            f"{directory} was not deleted: {mounts[0]} is mounted in it.",
            hints=(f"umount '{mounts[0]}', then run the command again.",),
            details={"left": [str(directory)], "mounts": [str(path) for path in mounts]},
        )
    trouble = _try_to_delete(directory)
    if trouble is not None and engine is not None:
        give_to_user(directory, engine=engine, images=images, uuid=uuid)
        trouble = _try_to_delete(directory)
    if trouble is not None:
        raise SandboxError(
            "teardown-incomplete",
            f"{directory} could not be deleted: {trouble.filename}: {trouble.strerror}.",
            hints=(f"Delete it: sudo rm -rf '{directory}', then run the command again.",),
            details={"left": [str(directory)]},
        )


def _try_to_delete(directory: Path) -> OSError | None:
    """The first failure that is not about something gone meanwhile."""
    first: list[OSError] = []

    def note(_function: object, path: str, info: tuple[type, BaseException, object]) -> None:
        error = info[1]
        inside = Path(path) != directory  # the folder around it is not ours to change
        if isinstance(error, PermissionError) and inside and _make_writable(Path(path).parent):
            return
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            error.filename = error.filename or path
            first.append(error)

    for _ in range(2):  # the second time finds the folders that were made writable in the first
        first.clear()
        shutil.rmtree(directory, onerror=note)
        if not os.path.lexists(directory):
            return None
    first.append(OSError(errno.ENOTEMPTY, "something is still in it", str(directory)))
    return first[0]


def _make_writable(folder: Path) -> bool:
    """As `rm -rf` does not, for a folder of our own; whether that was the trouble."""
    try:
        if folder.stat().st_mode & 0o700 == 0o700:
            return False
        folder.chmod(0o700)
    except OSError:
        return False
    return True


def give_to_user(directory: Path, *, engine: Engine, images: Sequence[str], uuid: str) -> None:
    """Give everything in a directory to the user who runs this, by a container that runs as root.

    Any image with a `chown` will do; they are tried in turn. Nothing is raised: whether it helped
    shows when the directory is deleted.
    """
    command = ["chown", "-R", f"{os.getuid()}:{os.getgid()}", "/doomed"]
    for image in images:
        if engine.run_once(image, command, binds={directory: "/doomed"}, uuid=uuid) == 0:
            return


def trash_path(home: Home, instance_id: str) -> Path:
    """A new place in the trash; its name tells `gc` since when it is there.

    Never one that is taken, as it can be when the clock was set back: what is there would be taken
    for this directory, moved already.
    """
    stamp = datetime.now(UTC).strftime(_STAMP)
    path = home.trash / f"{instance_id}-{stamp}"
    while os.path.lexists(path):
        path = home.trash / f"{instance_id}.{os.urandom(3).hex()}-{stamp}"
    return path


def move_to_trash(
    directory: Path, trash: Path, *, make_readable: Callable[[], None] = lambda: None
) -> None:
    """Move a directory to its place in the trash; nothing when that was done before.

    Onto another file system it is copied, and the copy is complete, and on the disk, when it has
    its name. The original is left to `delete`. `make_readable` is called when something in it
    cannot be copied. Raises `cannot-write`.
    """
    if trash.exists() or not directory.exists():
        return
    make_folder(trash.parent, mode=0o700)
    try:
        try:
            directory.rename(trash)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(directory, trash, make_readable)
    except OSError as error:  # `shutil.Error` is one, with all failures as its only argument
        failure = cannot_write(trash, error)
        failure.hints = (*failure.hints, f"Until then everything is in {directory}.")
        raise failure from error
    sync_folder(directory.parent)
    sync_folder(trash.parent)


def _copy(directory: Path, trash: Path, make_readable: Callable[[], None]) -> None:
    partial = trash.with_name(trash.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(directory, partial, symlinks=True, ignore=_special)
    except shutil.Error:
        make_readable()
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(directory, partial, symlinks=True, ignore=_special)
    os.sync()  # the original goes next, and a loss of power must not take both
    partial.rename(trash)


def _special(folder: str, names: Sequence[str]) -> set[str]:
    """Sockets, pipes and devices, which hold nothing and cannot be copied."""
    paths = {name: Path(folder, name) for name in names}
    return {n for n, p in paths.items() if not (p.is_symlink() or p.is_dir() or p.is_file())}


def trashed(home: Home) -> list[tuple[Path, float]]:
    """What is in the trash, half-made copies among it, with the days it is there; oldest first."""
    try:
        paths = list(home.trash.iterdir())
    except OSError:
        return []
    now = datetime.now(UTC)
    found = [(path, (now - _since(path)).total_seconds() / 86400) for path in paths]
    return sorted(found, key=lambda entry: -entry[1])


def _since(path: Path) -> datetime:
    """By its name, or its time where the name tells none."""
    stamp = path.name.removesuffix(_PARTIAL).rpartition("-")[2]
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def mounts_in(directory: Path) -> tuple[Path, ...]:
    """Mount points at or below a directory, as this process sees them.

    A place of the same file system that is mounted here only shows in Linux's own table; on other
    systems there is no such mount.
    """
    root = directory.resolve()
    try:
        table = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        folders = (Path(folder, name) for folder, names, _ in os.walk(root) for name in names)
        return tuple(sorted(path for path in folders if os.path.ismount(path)))
    points = set()
    for line in table.splitlines():
        # The kernel writes blanks, tabs, line ends and backslashes in octal (proc(5)).
        plain = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4])
        points.add(Path(os.fsdecode(plain)))
    return tuple(sorted(point for point in points if point.is_relative_to(root)))
