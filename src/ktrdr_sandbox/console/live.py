"""The gate on a terminal: one line for each check, with its time and what it waits for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.console.progress import ComposeLines, GateLines
from ktrdr_sandbox.gate.result import CHECK_NAMES, GateProgress
from ktrdr_sandbox.redaction import redact


class Watching(Protocol):
    """What a start is shown through: lines of Compose, and the gate's progress."""

    def line(self, text: str) -> None: ...

    def gate(self, progress: GateProgress) -> None: ...


@dataclass
class _Lines:
    """Whole lines, for pipes and files."""

    output: Output
    verbose: bool
    _gate: GateLines = field(init=False)
    _compose: ComposeLines = field(init=False)

    def __post_init__(self) -> None:
        self._gate = GateLines(self.output)
        self._compose = ComposeLines(self.output, everything=self.verbose)

    def line(self, text: str) -> None:
        self._compose(text)

    def gate(self, progress: GateProgress) -> None:
        self._gate(progress)


@dataclass
class _LiveView:
    """Redrawn in place. Lines of Compose scroll by above it."""

    console: Console
    verbose: bool
    _latest: dict[str, tuple[GateProgress, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._spinner = Spinner("dots")

    def line(self, text: str) -> None:
        if ComposeLines.shows(text, everything=self.verbose):
            self.console.print(Text(f"  {redact(text.rstrip())}", style="dim"))

    def gate(self, progress: GateProgress) -> None:
        self._latest[progress.name] = (progress, time.monotonic())

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for name in CHECK_NAMES:
            if name in self._latest:
                grid.add_row(*self._row(*self._latest[name]))
        return grid

    def _row(self, progress: GateProgress, since: float) -> tuple[Text | Spinner, Text, Text, Text]:
        settled = progress.passed or progress.failed
        elapsed = progress.elapsed + (0.0 if settled else time.monotonic() - since)
        mark: Text | Spinner = self._spinner
        if progress.passed:
            mark = Text("✓", style="green")
        elif progress.failed:
            mark = Text("✗", style="red")
        state = Text(redact(progress.state), style="dim", overflow="ellipsis", no_wrap=True)
        return mark, Text(progress.name), Text(f"{elapsed:5.1f} s"), state


@contextmanager
def watching(output: Output, *, verbose: bool = False) -> Iterator[Watching]:
    """A live view where stderr is a terminal, whole lines elsewhere, nothing with `--json`."""
    if output.json_mode or not sys.stderr.isatty():
        yield _Lines(output, verbose)
        return
    console = Console(stderr=True, highlight=False)
    view = _LiveView(console, verbose)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view
