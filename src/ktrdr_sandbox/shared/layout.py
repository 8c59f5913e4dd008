"""The folders that all instances share, and the variables under which Compose files know them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder
from ktrdr_sandbox.paths import Home

KINDS: Final = ("data", "models", "strategies")
"""The folders that every instance mounts, in the order of the architecture document."""
KIND_NAMES: Final = ", ".join(f"{kind}/" for kind in KINDS)
STAGING: Final = ".init-shared"
"""Folder beside them for files that are still being written. Mounted into no container."""

SEED_FOLDER: Final = Path(__file__).with_name("seed")
SEED_TIME_NS: Final = 1_767_225_600 * 10**9
"""Time of the seed pack's files, 2026-01-01 UTC: an installed file's own tells when the program
came. To be moved on when the pack changes, or a change of content would not be seen."""


def shared_folders(home: Home) -> dict[str, Path]:
    """Return each shared folder by its kind."""
    return {kind: home.shared / kind for kind in KINDS}


def shared_variables(home: Home) -> dict[str, str]:
    """Return KTRDR_SHARED_DIR, and the three variables that KTRDR itself reads."""
    folders = {f"KTRDR_{kind.upper()}_DIR": str(home.shared / kind) for kind in KINDS}
    return {"KTRDR_SHARED_DIR": str(home.shared), **folders}


def make_shared_folders(home: Home) -> None:
    """Create those that are missing: the engine would make them as root. Raises `cannot-write`."""
    make_folder(home.shared)
    for folder in shared_folders(home).values():
        if folder.is_dir():
            continue
        make_folder(folder)
        try:
            # The containers' user is seldom the one who runs this program.
            folder.chmod(0o777)
        except OSError as error:
            raise cannot_write(folder, error) from error


def kind_of(path: str) -> str:
    """Return which of the shared folders a path in the shared folder lies in, or is."""
    return path.partition("/")[0]


def is_below(path: str, folder: str) -> bool:
    """Tell by its text whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def refuse_linked(shared: Path, paths: Iterable[str]) -> None:
    """Refuse to copy where a shared folder is only a link. Raises `shared-folder-linked`."""
    for place in (shared / kind for kind in KINDS if kind in paths):
        if place.is_symlink():
            target = os.path.realpath(place)
            raise SandboxError(
                "shared-folder-linked",
                f"{place} is a link to {target}, and copying would write there.",
                hints=(f"To have a copy instead, remove the link first: rm {place}",),
                details={"path": str(place), "target": target},
            )


def link_folders(home: Home, targets: dict[str, str], *, dry_run: bool) -> int:
    """Make each kind a link to its target, and folders of the rest; return how many were so.

    An empty folder or another link gives way. Raises `would-lose-work` when a folder holds
    something, before any is touched, and `cannot-write`.
    """
    places = {home.shared / kind: target for kind, target in targets.items()}
    for place in places:
        is_empty = place.is_symlink() or (place.is_dir() and not any(place.iterdir()))
        if place.exists() and not is_empty:
            raise SandboxError(
                "would-lose-work",
                f"{place} is not empty; a link in its place would hide what it holds.",
                hints=(f"Move it away first: mv {place} {place}.old", "Or copy: without --link."),
                details={"path": str(place)},
            )
    linked = [p for p, target in places.items() if p.is_symlink() and os.path.realpath(p) == target]
    if dry_run:
        return len(linked)
    make_shared_folders(home)
    for place in places.keys() - linked:
        draft = place.with_name(f".{place.name}.link")
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(places[place])
            if not place.is_symlink():
                place.rmdir()
            draft.rename(place)  # so that there is always one link or the other
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise cannot_write(place, error) from error
    return len(linked)
