"""Locks between processes: kernel locks through filelock, freed by a crash of the holder."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, create_file, follow_owner, make_folder, private_mode

QUIET_WAIT = 1.0  # seconds of waiting before the user is told

Patience = float | Callable[[], float]
"""Seconds to wait; a function is only asked for them when there is something to wait for."""


@contextmanager
def hold(
    path: Path, *, purpose: str, patience: Patience, tell: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lock at `path` for the block.

    `purpose` is what others are told this process is doing ("create feat-x"). Says once who holds
    it after a second. Raises `lock-timeout`, `cannot-write`.
    """
    import filelock  # kept off the way of commands that lock nothing

    make_folder(path.parent)
    mode = private_mode(path.parent)
    if mode & stat.S_IWGRP and not path.exists():  # the group's from its first moment
        with contextlib.suppress(OSError):  # made by another meanwhile, or told by the lock itself
            create_file(path, b"", mode=mode)
    lock = filelock.FileLock(path, mode=mode)
    _acquire(lock, path, patience=patience, tell=tell)
    try:
        # Others that share the home get in, whatever the umask made of the new lock file.
        follow_owner(path)
        with contextlib.suppress(OSError):  # another user's, who did it
            if stat.S_IMODE(path.stat().st_mode) != mode:
                path.chmod(mode)
        # Beside the lock, not in it: some systems refuse to read a locked file. Only for people.
        with contextlib.suppress(OSError):
            note = path.with_suffix(".holder")
            note.unlink(missing_ok=True)  # another user's, after a crash: not ours to write
            note.write_text(json.dumps({"pid": os.getpid(), "purpose": purpose}), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            path.with_suffix(".holder").unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock at `path` at this moment. Does not wait."""
    import filelock

    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, mode=private_mode(path.parent)).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _acquire(lock: Any, path: Path, *, patience: Patience, tell: Callable[[str], None]) -> None:
    import filelock

    limit = QUIET_WAIT if callable(patience) else patience
    try:
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(timeout=min(QUIET_WAIT, limit), poll_interval=0.02)
            return
        tell(f"Waiting for another ktrdr-sandbox ({holder(path)})")
        limit = patience() if callable(patience) else patience
        lock.acquire(timeout=max(0.0, limit - QUIET_WAIT), poll_interval=0.05)
    except filelock.Timeout as error:
        raise SandboxError(
            "lock-timeout",
            f"Another ktrdr-sandbox ({holder(path)}) held the lock for more than {limit:g} s.",
            hints=("Run the command again when it has finished.",),
            details={"lock": str(path), "holder": holder(path)},
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error


def holder(path: Path) -> str:
    """Who holds the lock at `path`, for people: "pid 12, create feat-x"."""
    try:
        noted = json.loads(path.with_suffix(".holder").read_text(encoding="utf-8"))
        purpose = f", {noted['purpose']}" if noted["purpose"] else ""
        return f"pid {noted['pid']}{purpose}"
    except (OSError, ValueError, KeyError, TypeError):
        return "pid unknown"
