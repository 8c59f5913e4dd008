"""Starts the program afresh when its code changes on disk."""

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

logger = logging.getLogger(__name__)

CODE = Path(__file__).parent
POLL_SECONDS = 0.5

Snapshot = dict[Path, tuple[int, int]]


def reload_on_change(module: str) -> None:
    """Watches in the background and replaces this process by a new run of the module.

    Replacing keeps the process number, so for Docker the container has never stopped. What the
    process held in memory is gone, as after any restart.
    """
    threading.Thread(target=watch, args=(module, snapshot()), daemon=True).start()


def watch(module: str, before: Snapshot) -> NoReturn:
    while True:
        time.sleep(POLL_SECONDS)
        now = snapshot()
        changed = [path for path, stamp in now.items() if before.get(path) != stamp]
        if (changed or now.keys() != before.keys()) and all(map(compiles, now)):
            logger.info("code changed (%s), reloading", ", ".join(path.name for path in changed))
            os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 (that is the point)


def snapshot() -> Snapshot:
    stamps = {}
    for path in CODE.rglob("*.py"):
        try:
            status = path.stat()
        except FileNotFoundError:  # an editor or git was replacing it just now
            continue
        stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps


def compiles(path: Path) -> bool:
    """False for a file that is half written or half typed: the old code then goes on."""
    try:
        compile(path.read_bytes(), path, "exec")
    except (FileNotFoundError, SyntaxError, ValueError):
        return False
    return True
