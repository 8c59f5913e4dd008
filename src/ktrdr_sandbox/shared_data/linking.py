"""--link: the shared folders become links to where the data lies, and nothing is copied."""

from __future__ import annotations

import os
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder


def link_all(shared: Path, source: Path, kinds: list[str], *, dry_run: bool) -> int:
    """Make each kind a link to the source's. Gives how many were so already.

    An empty folder or another link gives way, for neither holds anything. Raises `would-lose-work`
    when a folder holds something, before any is touched; `cannot-write`.
    """
    goals = {kind: os.path.realpath(source / kind) for kind in kinds}
    for kind in kinds:
        _refuse_content(shared / kind)
    wanted = {k: goal for k, goal in goals.items() if not _is_link_to(shared / k, goal)}
    if not dry_run:
        make_folder(shared)
        for kind, goal in wanted.items():
            _put(shared / kind, goal)
    return len(goals) - len(wanted)


def refuse_links(shared: Path, kinds: list[str]) -> None:
    """Copying must not write where a folder is only linked to. Raises `shared-folder-linked`."""
    for kind in kinds:
        place = shared / kind
        if place.is_symlink():
            goal = os.path.realpath(place)
            raise SandboxError(
                "shared-folder-linked",
                f"{place} is a link to {goal}, and copying would write there.",
                hints=(f"To have a copy instead, remove the link first: rm {place}",),
                details={"path": str(place), "target": goal},
            )


def _is_link_to(place: Path, goal: str) -> bool:
    return place.is_symlink() and os.path.realpath(place) == goal


def _refuse_content(place: Path) -> None:
    if place.is_symlink() or not place.exists():
        return
    if not place.is_dir() or any(place.iterdir()):
        raise SandboxError(
            "would-lose-work",
            f"{place} is not empty; a link in its place would hide what it holds.",
            hints=(f"Move it away first: mv {place} {place}.old", "Or copy: without --link."),
            details={"path": str(place)},
        )


def _put(place: Path, goal: str) -> None:
    """By renaming, so that there is always one or the other."""
    draft = place.with_name(f".{place.name}.link")
    try:
        draft.unlink(missing_ok=True)
        draft.symlink_to(goal)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        draft.rename(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise cannot_write(place, error) from error
