"""How far init-shared is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.console.shared import counted, size_text
from ktrdr_sandbox.shared.results import Observer, Progress

QUIET: Final = 5.0
"""Seconds between two lines, and before the first: a short copy tells only its end."""
_ROOM_FOR_ALL: Final = 80
"""Columns of a terminal that amount, rate, time and the bar itself take."""


@contextmanager
def shown_progress(output: Output) -> Iterator[Observer]:
    """Show a bar where stderr is a terminal, and lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    is_silent = output.json_mode or output.quiet
    if is_silent or console.is_dumb_terminal or not on_terminal(sys.stderr):
        yield Lines(output)
        return
    with bar_on(console) as bar:
        yield shown_on(bar)


def bar_on(console: Console) -> Bar:
    """Return a bar with amount, rate and time left: what fits into one line of the terminal."""
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), DownloadColumn()]
    if console.width >= _ROOM_FOR_ALL:
        columns.insert(1, BarColumn())
        columns.append(TransferSpeedColumn())
    return Bar(*columns, TimeRemainingColumn(compact=True), console=console, transient=True)


def shown_on(bar: Bar) -> Observer:
    """Return what shows one stage after another on a bar."""
    task = bar.add_task("", total=None)
    stages: list[str] = []

    def observe(progress: Progress) -> None:
        if progress.stage not in stages:
            stages.append(progress.stage)
            bar.reset(task, description=progress.stage)
        bar.update(task, completed=progress.size, total=progress.size_total)

    return observe


@dataclass
class Lines:
    """Whole lines, for pipes and files."""

    output: Output
    _first: Progress | None = None
    _began: float = 0.0
    _told: float = field(default_factory=time.monotonic)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._first is None or progress.stage != self._first.stage:
            self._first, self._began = progress, now
        elif now - self._told >= QUIET:
            self._told = now
            rate = (progress.size - self._first.size) / (now - self._began)
            self.output.progress(progress_text(progress, rate))


def progress_text(progress: Progress, rate: float) -> str:
    """Write `copying: 1.2 GB of 3.4 GB, 120 of 20,000 files, 310 MB/s, 7 s left`."""
    total = progress.size_total
    parts = [size_text(progress.size) + ("" if total is None else f" of {size_text(total)}")]
    if progress.files_total is not None:
        parts.append(f"{progress.files:,} of {counted(progress.files_total, 'file')}")
    if rate > 0:
        parts.append(f"{size_text(rate)}/s")
        if total is not None:
            parts.append(f"{(total - progress.size) / rate:.0f} s left")
    return f"  {progress.stage}: {', '.join(parts)}"
