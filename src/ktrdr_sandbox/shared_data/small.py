"""The quick way of small new files: as few steps as there can be, for there are many.

Whatever is not as expected, an error or a file that has changed, is left to the slower way, which
begins anew with that file and finds out what there is to say of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ktrdr_sandbox.shared_data.entries import FileEntry
from ktrdr_sandbox.shared_data.placing import Staging
from ktrdr_sandbox.shared_data.transfer import SMALL

# A pipe that took a file's name a moment ago must not be waited for.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE: Final = os.O_WRONLY | os.O_CLOEXEC


_DESCRIPTORS: Final = "/proc/self/fd"
"""Where a file without a name can be linked from; open it is found a little quicker."""


class SmallFiles:
    """Places small files of one folder in another. `source` and `target` are open folders."""

    def __init__(
        self, source: int, target: int, staging: Staging, *, steady: bool, chown: bool
    ) -> None:
        self._source = source
        self._target = target
        self._unnamed = staging.unnamed()
        self._steady = steady
        self._chown = chown
        self._descriptors = -1

    @classmethod
    @contextmanager
    def opened(
        cls, source: int, target: int, staging: Staging, *, steady: bool, chown: bool
    ) -> Iterator[SmallFiles]:
        """The same, for the block; in the process that uses it."""
        made = cls(source, target, staging, steady=steady, chown=chown)
        if made._unnamed is None:
            yield made
            return
        made._descriptors = os.open(_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield made
        finally:
            os.close(made._descriptors)

    def place(self, entry: FileEntry) -> bool:
        """Whether the file was placed; if not, nothing was done."""
        name, size, mtime, mode, allocated, owner, group, _ = entry
        if self._unnamed is None or size > SMALL or allocated < size:
            return False
        flags, umask = self._unnamed
        try:
            file = os.open(name, _READ, dir_fd=self._source)
            try:
                data = os.read(file, size + 1)
                seen = os.fstat(file)
            finally:
                os.close(file)
            if len(data) != size or not self._held_still(seen, size, mtime):
                return False
            draft = os.open(".", flags | _WRITE, mode, dir_fd=self._target)
            try:
                if mode & umask:
                    os.fchmod(draft, mode)
                if self._chown and owner is not None and group is not None and (owner or group):
                    os.fchown(draft, owner, group)
                if size and os.write(draft, data) != size:
                    return False
                os.utime(draft, ns=(seen.st_atime_ns, mtime))
                os.link(
                    str(draft),
                    name,
                    src_dir_fd=self._descriptors,
                    dst_dir_fd=self._target,
                    follow_symlinks=True,
                )
            finally:
                os.close(draft)
        except OSError:
            return False
        return True

    def _held_still(self, seen: os.stat_result, size: int, mtime: int) -> bool:
        if seen.st_size != size or not stat.S_ISREG(seen.st_mode):
            return False
        return seen.st_mtime_ns == mtime or not self._steady
