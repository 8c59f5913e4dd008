"""Compose processes that outlived the program that started them."""

from __future__ import annotations

from typing import Any, Final

_PATIENCE: Final = 10.0
"""Seconds between asking them to end and killing them."""


def end_orphans(folder: str) -> None:
    """End every Compose command that works with a file in `folder`, which only we have.

    A killed `up` leaves its `docker compose` running, and that would go on making containers.
    """
    import psutil  # only needed after a kill

    left = [one for one in psutil.process_iter(["cmdline"]) if _is_compose(one.info, folder)]
    for process in left:
        _ask(process)
    _, still = psutil.wait_procs(left, timeout=_PATIENCE)
    for process in still:
        process.kill()
    psutil.wait_procs(still, timeout=_PATIENCE)


def _ask(process: Any) -> None:
    import psutil

    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return


def _is_compose(process: dict[str, Any], folder: str) -> bool:
    argv: list[str] = process["cmdline"] or []
    return "compose" in " ".join(argv[:8]) and any(part.startswith(f"{folder}/") for part in argv)
