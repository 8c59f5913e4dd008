"""What a source offers, and how one of its files is written beside its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple

from ktrdr_sandbox.shared.results import LeftOut

_BUFFER: Final = 1024 * 1024


class SourceError(Exception):
    """The source could not be read."""


class File(NamedTuple):
    """A file of a source, by its path in the shared folder."""

    path: str
    size: int
    mtime_ns: int
    mode: int
    location: str = ""


@dataclass(slots=True)
class Listing:
    """What a source offers. `folders` map path to permissions, parents first; `links` to target.

    `ignored` counts what an archive holds beside the shared kinds of folder.
    """

    folders: dict[str, int] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    ignored: int = 0


Tick = Callable[[int], None]
"""Is told how many more bytes are done."""
Stage = Callable[[list[File], Path, Tick], Iterator[tuple[File, Path]]]
"""Writes files into an empty folder, giving each when it is complete; then it may be moved."""


def write_file(place: Path, file: File, stream: IO[bytes], tick: Tick) -> None:
    """Write a file with its permissions and time; long runs of zeros become holes.

    Writes less where the stream ends early. Raises SourceError, and OSError of the place.
    """
    left = file.size
    with place.open("wb") as target:
        while left:
            try:
                data = stream.read(min(_BUFFER, left))
            except OSError as error:
                raise SourceError(error.strerror) from error
            if not data:
                break
            if len(data) == _BUFFER and not data.strip(b"\0"):
                target.seek(len(data), os.SEEK_CUR)
            else:
                target.write(data)
            left -= len(data)
            tick(len(data))
        target.truncate()
        os.fchmod(target.fileno(), file.mode)
        os.utime(target.fileno(), ns=(file.mtime_ns, file.mtime_ns))
