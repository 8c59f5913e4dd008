"""The gate on a terminal: one line for each check, with its time and what it waits for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ktrdr_sandbox.console.progress import ComposeLines
from ktrdr_sandbox.console.pulling import Pulls
from ktrdr_sandbox.gate.result import CHECK_NAMES, GateProgress
from ktrdr_sandbox.redaction import redact


@dataclass
class LiveView:
    """Redrawn in place: one line until the gate begins, then one for each check.

    Lines of Compose that are worth keeping scroll by above it.
    """

    console: Console
    verbose: bool = False
    _latest: dict[str, tuple[GateProgress, float]] = field(default_factory=dict)
    _step: str = "reading the Compose file"
    _pulls: Pulls = field(default_factory=Pulls)

    def __post_init__(self) -> None:
        self._spinner = Spinner("dots")
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        shown = redact(text.strip())
        left_out = self._pulls.take(text) and not self.verbose
        self._step = self._pulls.summary or " ".join(shown.split()) or self._step
        if not left_out and ComposeLines.shows(text, everything=self.verbose):
            self.console.print(Text(f"  {shown}", style="dim"))

    def gate(self, progress: GateProgress) -> None:
        self._latest[progress.name] = (progress, time.monotonic())

    def __rich__(self) -> Table:
        # Fixed widths for all but the last, which alone gives way on a narrow terminal.
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=max(map(len, CHECK_NAMES)))
        grid.add_column(width=len("100.0 s"), justify="right")
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for name in CHECK_NAMES:
            if name in self._latest:
                grid.add_row(*self._row(*self._latest[name]))
        if not self._latest:
            elapsed = time.monotonic() - self._began
            grid.add_row(self._spinner, "start", _seconds(elapsed), Text(self._step, style="dim"))
        return grid

    def _row(self, progress: GateProgress, since: float) -> tuple[Text | Spinner, str, str, Text]:
        settled = progress.passed or progress.failed
        elapsed = progress.elapsed + (0.0 if settled else time.monotonic() - since)
        mark: Text | Spinner = self._spinner
        if progress.passed:
            mark = Text("✓", style="green")
        elif progress.failed:
            mark = Text("✗", style="red")
        state = Text(redact(progress.state), style="dim")
        return mark, progress.name, _seconds(elapsed), state


def _seconds(elapsed: float) -> str:
    return f"{elapsed:.1f} s"


def can_redraw(console: Console) -> bool:
    """Whether the terminal can go back over its lines, and has the signs that are drawn."""
    return console.is_terminal and not console.is_dumb_terminal and "utf" in console.encoding
