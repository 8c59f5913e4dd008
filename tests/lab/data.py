"""An engine's data folder: whether the lab made it, and what is done when no engine starts on it.

An engine that was killed while it wrote can leave its network database such that every later one
panics on it (https://github.com/moby/moby/issues/42099). What the lab made holds nothing that it
cannot make again; what it did not make it never touches.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.lab import traces
from tests.lab.commands import attempt

MARK = ".made-by-ktrdr-sandbox-lab"
NETWORK_DATABASE = Path("network") / "files" / "local-kv.db"


def make(folder: Path) -> None:
    """Make and mark the folder; one that is there stays whose it is."""
    if not folder.exists():
        folder.mkdir(mode=0o711, parents=True)
        (folder / MARK).touch()


def made_by_lab(folder: Path) -> bool:
    return (folder / MARK).is_file()


def repairs(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What may help an engine that ended while it started, mildest first, each with its name."""
    if not made_by_lab(folder):
        return
    database = folder / NETWORK_DATABASE
    if database.is_file():
        yield "network database removed", database.unlink
    yield "data folder made anew", lambda: _make_anew(folder)


def _make_anew(folder: Path) -> None:
    for point in sorted(traces.mounts_below(folder, traces.MOUNTS.read_text()), reverse=True):
        attempt(["umount", "--lazy", point], limit=20)
    shutil.rmtree(folder)
    make(folder)
