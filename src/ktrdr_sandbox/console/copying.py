"""How far init-shared is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.console.sharing import counted, size_text

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.shared_data.results import Observer, Progress

QUIET: Final = 5.0
"""Seconds between two lines, and before the first: a short copy tells only its end."""
_TITLES: Final = {
    "looking": "looking",
    "downloading": "downloading",
    "checking": "checking the archive",
    "copying": "copying",
}


@dataclass
class Pace:
    """Bytes a second of a stage so far, and what follows from it. Times in seconds."""

    stage: str = ""
    began: float = 0.0
    first: int = 0

    def rate(self, progress: Progress, now: float) -> float:
        """Bytes a second; 0 while it is too early to tell."""
        if progress.stage != self.stage:
            self.stage, self.began, self.first = progress.stage, now, progress.size
        elapsed = now - self.began
        return (progress.size - self.first) / elapsed if elapsed > 0 else 0.0


def line(progress: Progress, rate: float) -> str:
    """`copying: 1.2 of 3.4 GB, 120 of 20,000 files, 310 MB/s, 7 s left`."""
    parts = []
    if progress.size_total is None:
        parts.append(size_text(progress.size))
    else:
        parts.append(f"{size_text(progress.size)} of {size_text(progress.size_total)}")
    if progress.files_total is not None:
        parts.append(f"{progress.files:,} of {counted(progress.files_total, 'file')}")
    if rate > 0:
        parts.append(f"{size_text(rate)}/s")
        if progress.size_total is not None:
            parts.append(f"{_duration((progress.size_total - progress.size) / rate)} left")
    return f"  {_TITLES[progress.stage]}: {', '.join(parts)}"


def _duration(seconds: float) -> str:
    """`7 s`, `2 min 5 s`, `1 h 4 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass
class Lines:
    """Whole lines, for pipes and files."""

    output: Output
    _pace: Pace = field(default_factory=Pace)
    _told: float = field(default_factory=time.monotonic)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        rate = self._pace.rate(progress, now)
        if now - self._told >= QUIET and progress.stage != "looking":
            self.output.progress(line(progress, rate))
            self._told = now


@contextmanager
def watching(output: Output) -> Iterator[Observer]:
    """A bar where stderr is a terminal, lines elsewhere, nothing with `--json` or `--quiet`."""
    if output.json_mode or output.quiet or not on_terminal(sys.stderr):
        yield Lines(output)
        return
    with _bar() as bar:
        yield _on(bar)


def _bar() -> Any:
    """Bytes, rate and time left, in place; gone when it is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )


def _on(bar: Any) -> Observer:
    tasks: dict[str, Any] = {}

    def observe(progress: Progress) -> None:
        if progress.stage not in tasks:
            for task in tasks.values():
                bar.update(task, visible=False)
            title = _TITLES[progress.stage]
            tasks[progress.stage] = bar.add_task(title, total=None, files="")
        files = ""
        if progress.files_total is not None:
            files = f"{progress.files:,}/{progress.files_total:,} files"
        bar.update(
            tasks[progress.stage],
            completed=progress.size,
            total=progress.size_total,
            files=files,
        )

    return observe
