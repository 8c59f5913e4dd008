"""Reads both sides of a copy while the rest of the program is still being loaded.

A run with nothing to do looks at two trees, which takes about as long as loading the program. So a
copy of this process, made first of all, reads the source meanwhile, and then what lies in the
shared folder. Nothing depends on it: whatever the copy has not read, or not in time, or what may
have changed since, this process reads itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from ktrdr_sandbox.shared_data.entries import Folder, Stamp
from ktrdr_sandbox.shared_data.folders import FolderSource
from ktrdr_sandbox.shared_data.forks import fitting, message, pipe, receive, started
from ktrdr_sandbox.shared_data.presence import Look, look_everywhere
from ktrdr_sandbox.shared_data.remarks import LeftOut

FRESH: Final = 1.0
"""Seconds for which what was read stands for what is there: no longer than any run takes to look
at many files. Whoever had to wait for the lock reads it again."""
MANY: Final = 100_000
"""Files of the source that the copy remembers, to say of a folder that it is the same: 30 MB."""

_SET_PIPE_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)
_PIPE_SIZE: Final = 1024 * 1024
"""Bytes: what is written is seldom kept until the copy comes by again."""


class Between(NamedTuple):
    """A source's root, the shared folder, and the manifest of what was put there."""

    root: Path
    shared: Path
    manifest: Path


Identity = tuple[int, int, int] | None
"""Tells one state of a manifest from another, which each run that places something leaves."""

_begun: Ahead | None = None


class Ahead:
    """What is being read. Raises OSError where there can be no more processes or pipes."""

    def __init__(self, between: Between) -> None:
        self.between = between
        self.began = time.monotonic()
        self.manifest: Identity = None
        """The state in which this process found the manifest: looks count only in the same."""
        self._is_checked = False
        with ExitStack() as kept, ExitStack() as given:
            self._source, folders = pipe(kept, given)
            self._shared, looks = pipe(kept, given)
            own = (self._source, self._shared)

            def read() -> None:
                for fd in own:  # so that it hears when the parent is gone
                    os.close(fd)
                _read(between, folders, looks)

            kept.enter_context(started(read))
            self._kept = kept.pop_all()
        self._waiting = select.poll()
        self._waiting.register(self._shared, select.POLLIN)

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.began < FRESH

    def end(self) -> None:
        """No more of it is wanted."""
        self._kept.close()

    def folders(self, source: FolderSource) -> Iterator[Folder]:
        """What `source.folders()` gives."""
        had: set[str] = set()
        try:
            while (packed := receive(self._source)) is not None:
                folder = Folder.unpacked(packed, source.files_of)
                had.add(folder.path)
                yield folder
            source.left_out += [LeftOut(*one) for one in receive(self._source)]
        except ChildProcessError:  # somebody has ended the copy
            yield from (one for one in source.folders() if one.path not in had)

    def arrived(self) -> bool:
        """Whether more of the shared folder has been looked into.

        Raises ChildProcessError where that does not count, for another run has ended since.
        """
        while self._waiting.poll(0):
            if self._is_checked:
                return True
            self._is_checked = True
            if receive(self._shared) != self.manifest:
                raise ChildProcessError
        return False

    def receive(self) -> Look:
        """The next of `look_everywhere`. Raises ChildProcessError when there is no more."""
        look: Look = receive(self._shared)
        return look


@contextmanager
def reading(between: Between) -> Iterator[None]:
    """For the block, have a copy read a source and a shared folder, should somebody `take` it."""
    global _begun
    with ExitStack() as stack:
        with contextlib.suppress(OSError):
            if fitting():
                begun = _begun = Ahead(between)
                stack.callback(begun.end)
        try:
            yield
        finally:
            _begun = None


def take(between: Between) -> Ahead | None:
    """What is being read between these, if it is; once."""
    global _begun
    begun, _begun = _begun, None
    return begun if begun is not None and begun.between == between else None


def identity_of(info: os.stat_result) -> Identity:
    """The state of a manifest."""
    return info.st_ino, info.st_mtime_ns, info.st_size


# -- in the copy ----------------------------------------------------------------------------------


def _read(between: Between, folders: int, looks: int) -> None:
    out = _Outbox(folders, looks)
    shared = str(between.shared)
    source = FolderSource(
        between.root,
        forbidden=between.shared,
        keep_owner=True,
        is_brief=lambda path: os.path.lexists(f"{shared}/{path}"),  # much may be there, too
    )
    stamps: dict[str, dict[str, Stamp]] = {}
    room = MANY
    for folder in source.folders():
        out.put(folders, folder.packed())
        room -= len(folder.stamps)
        if room >= 0:
            stamps[folder.path] = folder.stamps
    out.put(folders, None)
    out.put(folders, [tuple(one) for one in source.left_out])
    out.put(looks, _state_of(between.manifest))
    for path, found in look_everywhere(shared):
        is_same = isinstance(found, dict) and found == stamps.get(path)
        out.put(looks, (path, True if is_same else found))
    out.flush()


def _state_of(manifest: Path) -> Identity:
    try:
        return identity_of(manifest.stat())
    except OSError:
        return None


class _Outbox:
    """Keeps what the other end of a pipe has no time for, rather than wait for it."""

    def __init__(self, *pipes: int) -> None:
        self._waiting: dict[int, deque[memoryview]] = {one: deque() for one in pipes}
        for one in pipes:
            os.set_blocking(one, False)
            if _SET_PIPE_SIZE is not None:
                with contextlib.suppress(OSError):
                    fcntl.fcntl(one, _SET_PIPE_SIZE, _PIPE_SIZE)

    def put(self, fd: int, thing: Any) -> None:
        """Write it, and what waits, as far as that goes at once."""
        self._waiting[fd].append(memoryview(message(thing)))
        self._write()

    def flush(self) -> None:
        """Write everything."""
        while full := [fd for fd, waiting in self._waiting.items() if waiting]:
            waiting = select.poll()  # unlike select it takes any descriptor
            for fd in full:
                waiting.register(fd, select.POLLOUT)
            waiting.poll()
            self._write()

    def _write(self) -> None:
        for fd, waiting in self._waiting.items():
            with contextlib.suppress(BlockingIOError):
                while waiting:
                    waiting[0] = waiting[0][os.write(fd, waiting[0]) :]
                    if not waiting[0]:
                        waiting.popleft()
