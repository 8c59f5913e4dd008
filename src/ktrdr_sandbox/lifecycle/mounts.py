"""What is mounted inside a directory: another file system, or a place from elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def mounts_in(directory: Path) -> tuple[Path, ...]:
    """Mount points at or below a directory, as this process sees them.

    A place of the same file system that is mounted here only shows in Linux's own table; on other
    systems there is no such mount.
    """
    root = directory.resolve()
    try:
        table = os.fsencode(_TABLE.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return tuple(_walked(root))
    points = (Path(os.fsdecode(_unescaped(line.split()[4]))) for line in table.splitlines())
    return tuple(sorted({point for point in points if point.is_relative_to(root)}))


def _unescaped(field: bytes) -> bytes:
    """The kernel writes blanks, tabs, line ends and backslashes in octal (proc(5))."""
    text = field.decode("latin-1")
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text).encode("latin-1")


def _walked(root: Path) -> list[Path]:
    found = []
    for folder, names, _ in os.walk(root):
        below = [Path(folder, name) for name in names]
        found += [path for path in below if os.path.ismount(path)]
        names[:] = [path.name for path in below if path not in found]
    return found
