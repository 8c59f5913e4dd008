"""How far init-shared is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.console.sharing import counted, size_text

if TYPE_CHECKING:  # the records only
    from ktrdr_sandbox.shared_data.results import Observer, Progress

QUIET: Final = 5.0
"""Seconds between two lines, and before the first: a short copy tells only its end."""
_REDRAWN: Final = 0.1
"""Seconds between two pictures of the bar."""
_ROOM_FOR_ALL: Final = 80
_ROOM_FOR_FILES: Final = 68
"""Columns of a terminal from which on everything fits, and everything but the bar itself."""
_FILE_COST: Final = 64 * 1024
"""Bytes that could be copied in the time that making one more file takes: about 0.15 ms."""
_TITLES: Final = {
    "looking": "looking",
    "downloading": "downloading",
    "checking": "checking the archive",
    "copying": "copying",
}


class Speed(NamedTuple):
    """Bytes a second, and seconds until the stage is done; None while nobody can tell."""

    rate: float | None = None
    left: float | None = None


@dataclass
class Pace:
    """How fast a stage was so far, and what follows from it."""

    _first: Progress | None = None
    _began: float = 0.0

    def speed(self, progress: Progress, now: float) -> Speed:
        """`now` in seconds. Small files count for more than their bytes: they come last."""
        if self._first is None or progress.stage != self._first.stage:
            self._first, self._began = progress, now
        elapsed = now - self._began
        size = progress.size - self._first.size
        if elapsed <= 0 or size <= 0:
            return Speed()
        total = work_of(progress.size_total, progress.files_total)
        if total is None:
            return Speed(size / elapsed)
        done = work_of(progress.size, progress.files) or 0
        before = work_of(self._first.size, self._first.files) or 0
        return Speed(size / elapsed, (total - done) * elapsed / (done - before))


def work_of(size: int | None, files: int | None) -> int | None:
    """Bytes, and for each file what it takes beside them."""
    return None if size is None else size + (files or 0) * _FILE_COST


def line(progress: Progress, speed: Speed) -> str:
    """`copying: 1.2 GB of 3.4 GB, 120 of 20,000 files, 310 MB/s, 7 s left`."""
    parts = [_amount(progress)]
    if progress.files_total is not None:
        parts.append(f"{progress.files:,} of {counted(progress.files_total, 'file')}")
    if speed.rate is not None:
        parts.append(f"{size_text(speed.rate)}/s")
    if speed.left is not None:
        parts.append(f"{_duration(speed.left)} left")
    return f"  {_TITLES[progress.stage]}: {', '.join(parts)}"


def _amount(progress: Progress) -> str:
    if progress.size_total is None:
        return size_text(progress.size)
    return f"{size_text(progress.size)} of {size_text(progress.size_total)}"


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
        speed = self._pace.speed(progress, now)
        if now - self._told >= QUIET and progress.stage != "looking":
            self.output.progress(line(progress, speed))
            self._told = now


@contextmanager
def watching(output: Output) -> Iterator[Observer]:
    """A bar where stderr is a terminal, lines elsewhere, nothing with `--json` or `--quiet`."""
    if output.json_mode or output.quiet or not on_terminal(sys.stderr):
        yield Lines(output)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_dumb_terminal:  # which cannot go back over its lines
        yield Lines(output)
        return
    with bar_on(console) as bar:
        yield on(bar)


def bar_on(console: Any) -> Any:
    """A bar, bytes, rate and time left, in place and in one line; gone when it is done."""
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        TextColumn("{task.fields[amount]}", style="green"),
    ]
    if console.width >= _ROOM_FOR_ALL:
        columns.insert(1, BarColumn())  # the one that gives way
    if console.width >= _ROOM_FOR_FILES:
        columns.append(TextColumn("{task.fields[files]}"))
        columns.append(TextColumn("{task.fields[rate]}", style="red"))
    columns.append(TextColumn("{task.fields[left]}", style="cyan"))
    # No thread beside the work: it copies its own process, which must be alone for that.
    return Bar(*columns, console=console, transient=True, auto_refresh=False)


def on(bar: Any) -> Observer:
    """What shows each stage on a bar, the one before it gone."""
    tasks: dict[str, Any] = {}
    pace = Pace()
    drawn = 0.0

    def observe(progress: Progress) -> None:
        nonlocal drawn
        now = time.monotonic()
        due = now - drawn >= _REDRAWN or progress.stage not in tasks
        if progress.stage not in tasks:
            for task in tasks.values():
                bar.update(task, visible=False)
            title = _TITLES[progress.stage]
            tasks[progress.stage] = bar.add_task(
                title, total=None, amount="", files="", rate="", left=""
            )
        speed = pace.speed(progress, now)
        bar.update(
            tasks[progress.stage],
            completed=work_of(progress.size, progress.files),
            total=work_of(progress.size_total, progress.files_total),
            **_fields(progress, speed),
        )
        if due:
            bar.refresh()
            drawn = now

    return observe


def _fields(progress: Progress, speed: Speed) -> dict[str, str]:
    files = ""
    if progress.files_total is not None:
        files = f"{progress.files:,}/{counted(progress.files_total, 'file')}"
    return {
        "amount": "" if progress.stage == "looking" else _amount(progress),
        "files": files,
        "rate": "" if speed.rate is None else f"{size_text(speed.rate)}/s",
        "left": "" if speed.left is None else f"{_duration(speed.left)} left",
    }
