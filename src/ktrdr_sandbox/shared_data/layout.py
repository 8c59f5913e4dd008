"""What the shared folder holds, and which names in it are this program's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ktrdr_sandbox.files import cannot_write, make_folder

KINDS: Final = ("data", "models", "strategies")
"""The folders that every instance mounts, in the order of the architecture document."""

STAGING: Final = ".init-shared"
"""Folder beside them for files that are still being written. Mounted into no container."""

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OWN_FOLDER_FLAGS: Final = FOLDER_FLAGS | os.O_NOFOLLOW
"""For a folder in the shared one: itself, and not what a link in its place leads to."""

KIND_MODE: Final = 0o777
"""The containers' user is seldom the one who runs this program, and has to write there."""


def kind_of(path: str) -> str:
    """The first part of a path below the shared folder."""
    return path.partition("/")[0]


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it, by its text."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def make_kinds(shared: Path, kinds: Iterable[str]) -> None:
    """Create the shared folders that are missing, writable by the containers' users.

    Raises `cannot-write`.
    """
    make_folder(shared)
    for kind in kinds:
        folder = shared / kind
        if folder.is_dir():
            continue
        make_folder(folder)
        try:
            folder.chmod(KIND_MODE)
        except OSError as error:
            raise cannot_write(folder, error) from error
