"""How a start is watched: in whole lines, or redrawn where stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.console.progress import ComposeLines, GateLines
from ktrdr_sandbox.gate.result import GateProgress


class Watching(Protocol):
    """What a start is shown through: lines of Compose, and the gate's progress."""

    def line(self, text: str) -> None: ...

    def gate(self, progress: GateProgress) -> None: ...


@dataclass
class _Lines:
    """Whole lines, for pipes and files."""

    output: Output
    _gate: GateLines = field(init=False)
    _compose: ComposeLines = field(init=False)

    def __post_init__(self) -> None:
        self._gate = GateLines(self.output)
        self._compose = ComposeLines(self.output, everything=self.output.verbose)

    def line(self, text: str) -> None:
        self._compose(text)

    def gate(self, progress: GateProgress) -> None:
        self._gate(progress)


@contextmanager
def watching(output: Output) -> Iterator[Watching]:
    """A live view where stderr is a terminal, whole lines elsewhere, nothing with `--json` or
    `--quiet`."""
    if output.json_mode or output.quiet or not on_terminal(sys.stderr):
        yield _Lines(output)
        return
    from rich.console import Console  # only where something is drawn
    from rich.live import Live

    from ktrdr_sandbox.console.live import LiveView, can_redraw

    console = Console(stderr=True, highlight=False)
    if not can_redraw(console):
        yield _Lines(output)
        return
    view = LiveView(console, output.verbose)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view
