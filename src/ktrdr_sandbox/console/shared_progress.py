"""How far init-shared is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.console.shared import size_text
from ktrdr_sandbox.shared.results import Observer, Progress

_QUIET = 5.0
"""Seconds between two lines, and before the first: a short copy tells only its end."""
_ROOM_FOR_ALL = 80
"""Columns of a terminal with room for the bar itself, too."""


@contextmanager
def shown_progress(output: Output) -> Iterator[Observer]:
    """Show a bar where stderr is a terminal, and lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if output.json_mode or output.quiet or not on_terminal(sys.stderr) or console.is_dumb_terminal:
        yield _lines(output)
        return
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), DownloadColumn()]
    columns += [BarColumn(), TimeRemainingColumn()] if console.width >= _ROOM_FOR_ALL else []
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def observe(progress: Progress) -> None:
            if bar.tasks[0].description != progress.stage:
                bar.reset(task, description=progress.stage)
            bar.update(task, completed=progress.size, total=progress.total)

        yield observe


def _lines(output: Output) -> Observer:
    """Write `copying: 1.2 GB of 3.4 GB, 7 s left`."""
    first, began, told = Progress("looking"), time.monotonic(), time.monotonic()

    def observe(progress: Progress) -> None:
        nonlocal first, began, told
        now = time.monotonic()
        if progress.stage != first.stage:
            first, began = progress, now
        elif now - told >= _QUIET:
            told, text = now, size_text(progress.size)
            if progress.total is not None:
                done, left = progress.size - first.size, progress.total - progress.size
                text += f" of {size_text(progress.total)}"
                text += f", {left * (now - began) / done:.0f} s left" if done > 0 else ""
            output.progress(f"  {progress.stage}: {text}")

    return observe
