"""Moves the bytes of one file: shared blocks where the file system can, else the kernel's copy."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

SMALL: Final = 256 * 1024
"""Up to here one read and one write are the quickest."""
CHUNK: Final = 8 * 1024 * 1024
"""Between two chunks progress is told and an interrupt is heard."""
_BUFFER: Final = 1024 * 1024

_FICLONE: Final = 0x40049409
"""ioctl of btrfs, XFS, bcachefs and others: share all blocks of a file (linux/fs.h)."""
_NO_KERNEL_COPY: Final = {
    errno.ENOSYS,
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EPERM,
    errno.EBADF,
    errno.ETXTBSY,
}

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}

Tick = Callable[[int], None]
"""Told the bytes of each chunk when it is done; may raise to stop."""


class SourceError(Exception):
    """The source could not be read."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes: ...


class Transfer:
    """Copies contents, and remembers what the file systems at hand refuse."""

    def __init__(self) -> None:
        self._clones = sys.platform == "linux"
        self._kernel = hasattr(os, "copy_file_range")

    def copy(self, source: int, target: int, size: int, *, holes: bool, tick: Tick) -> int:
        """Copy a whole file; gives the bytes copied. Raises SourceError, OSError of the target."""
        if size <= SMALL and not holes:
            return self._small(source, target, size, tick)
        if self._clones and self.clone(source, target):
            tick(size)
            return size
        if not holes:
            return self._range(source, target, 0, None, tick)
        for start, end in _data_ranges(source, size):
            self._range(source, target, start, end, tick)
        os.ftruncate(target, size)
        return size

    def clone(self, source: int, target: int) -> bool:
        """Let the target share the source's blocks, where the file system can."""
        import fcntl

        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            self._clones = False
            return False
        return True

    @staticmethod
    def _small(source: int, target: int, size: int, tick: Tick) -> int:
        data = _read(source, size + 1)
        done = len(data)
        _write(target, data)
        while done > size:  # it has grown since it was looked at
            data = _read(source, _BUFFER)
            if not data:
                break
            _write(target, data)
            done += len(data)
        tick(done)
        return done

    def _range(self, source: int, target: int, start: int, end: int | None, tick: Tick) -> int:
        """Copy from `start` to `end`, or to the end of the file."""
        at = start
        while end is None or at < end:
            wanted = CHUNK if end is None else min(CHUNK, end - at)
            done = self._chunk(source, target, at, wanted)
            if done == 0:
                break
            at += done
            tick(done)
        return at - start

    def _chunk(self, source: int, target: int, at: int, wanted: int) -> int:
        if self._kernel:
            try:
                done = os.copy_file_range(source, target, wanted, at, at)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise
                # Which side failed, reading and writing by ourselves will tell.
                self._kernel = error.errno not in _NO_KERNEL_COPY
            else:
                if done:
                    return done
        # The end; or a file system that says so wrongly, which reading finds out.
        return _read_and_write(source, target, at, wanted)


def _read_and_write(source: int, target: int, at: int, wanted: int) -> int:
    data = _read_at(source, min(wanted, _BUFFER), at)
    os.lseek(target, at, os.SEEK_SET)
    _write(target, data)
    return len(data)


def _read(source: int, size: int) -> bytes:
    try:
        return os.read(source, size)
    except OSError as error:
        raise SourceError(error.strerror) from error


def _read_at(source: int, size: int, at: int) -> bytes:
    try:
        return os.pread(source, size, at)
    except OSError as error:
        raise SourceError(error.strerror) from error


def _write(target: int, data: bytes) -> None:
    done = os.write(target, data)
    while done < len(data):
        done += os.write(target, data[done:])


def _data_ranges(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file with holes has data."""
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            start = at  # a file system that does not tell
        end = size
        with contextlib.suppress(OSError):
            end = os.lseek(source, start, os.SEEK_HOLE)
        if end <= start:
            return
        yield start, end
        at = end


def write_stream(stream: Readable, target: int, size: int, *, tick: Tick) -> None:
    """Write `size` bytes of a stream, leaving holes where whole buffers are zero.

    Raises SourceError when the stream ends early, OSError of the target.
    """
    at = 0
    while at < size:
        data = stream.read(min(_BUFFER, size - at))
        if not data:
            raise SourceError("it ends too early")
        if len(data) == _BUFFER and not data.strip(b"\0"):
            os.lseek(target, at + len(data), os.SEEK_SET)
        else:
            os.lseek(target, at, os.SEEK_SET)
            _write(target, data)
        at += len(data)
        tick(len(data))
    os.ftruncate(target, size)


def equals_stream(stream: Readable, other: int, size: int, *, tick: Tick) -> bool:
    """Whether a file has exactly the content of a stream. Reads the stream to its end or not."""
    at = 0
    while at < size:
        data = stream.read(min(_BUFFER, size - at))
        if not data or data != _full(other, len(data), at):
            return False
        at += len(data)
        tick(len(data))
    return not os.pread(other, 1, at)


def _full(other: int, size: int, at: int) -> bytes:
    data = os.pread(other, size, at)
    while len(data) < size:
        more = os.pread(other, size - len(data), at + len(data))
        if not more:
            break
        data += more
    return data


class Descriptor:
    """Reads a file by its descriptor, for `equals_stream`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int, /) -> bytes:
        return _read(self._fd, size)
