"""How a start is watched: whole lines for pipes and files, redrawn where stderr is a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.gate.result import CHECK_NAMES, GateProgress
from ktrdr_sandbox.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

EVERY: Final = 5.0
"""Seconds between two lines about a pull where lines stay."""

_ROUTINE: Final = re.compile(
    r"^\s*(?:Container|Network|Volume|Image) .* (?:Creating|Created|Recreate|Recreated|Starting|"
    r"Started|Running|Building|Waiting|Healthy|Stopping|Stopped|Removing|Removed|Exists|Built)\s*$"
    r"|variable is not set. Defaulting to a blank string"
    r"|buildx Docker CLI plugin not found: falling back"
)
_LAYER: Final = re.compile(
    r"^\s*([0-9a-f]{12}) (Pulling fs layer|Waiting|Downloading|Verifying Checksum|"
    r"Download complete|Extracting|Pull complete|Already exists)\b(.*)$"
)
_BUILDKIT: Final = re.compile(r"^#\d+ (?:sha256:|extracting sha256:)")
_IMAGE: Final = re.compile(r"^\s*(?:Image )?\S+ (?:Pulling|Pulled)\s*$")
_SIZE: Final = re.compile(r"([\d.]+)\s?([kMGT]?)B\b")
_UNITS: Final = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}
"""In megabytes, as Docker counts them."""


class View(Protocol):
    """What a start is shown through: lines of Compose, and the gate's progress."""

    def line(self, text: str) -> None: ...

    def gate(self, progress: GateProgress) -> None: ...


@contextmanager
def watching(output: Output) -> Iterator[View]:
    """A live view where stderr is a terminal, whole lines elsewhere, nothing with `--json` or
    `--quiet`."""
    if output.json_mode or output.quiet or not on_terminal(sys.stderr):
        yield _Lines(output)
        return
    from rich.console import Console  # only where something is drawn
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    if not can_redraw(console):
        yield _Lines(output)
        return
    view = LiveView(console, output.verbose)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view


def can_redraw(console: Console) -> bool:
    """Whether the terminal can go back over its lines, and has the signs that are drawn."""
    return console.is_terminal and not console.is_dumb_terminal and "utf" in console.encoding


def is_worth_showing(line: str, *, everything: bool) -> bool:
    """Whether a line of Compose is shown: builds, pulls and complaints; its routine when asked."""
    return bool(line.strip()) and (everything or not _ROUTINE.search(line))


@dataclass
class Pulls:
    """The layers of all images that are being pulled: many lines, made into one."""

    clock: Callable[[], float] = time.monotonic
    _layers: dict[str, str] = field(default_factory=dict)
    _megabytes: dict[str, float] = field(default_factory=dict)
    _images: set[str] = field(default_factory=set)
    _told_at: float | None = None

    def take(self, line: str) -> bool:
        """Whether a line is of a pull and to be left out: a layer's, or one said before.

        Services that share an image each announce its pull.
        """
        if _BUILDKIT.match(line):
            return True
        if _IMAGE.match(line):
            said = line.strip() in self._images
            self._images.add(line.strip())
            return said
        found = _LAYER.match(line)
        if found is None:
            return False
        layer, state, rest = found.groups()
        self._layers[layer] = state
        size = _SIZE.search(rest) if state == "Downloading" else None
        if size is not None:
            self._megabytes[layer] = float(size[1]) * _UNITS[size[2]]
        return True

    @property
    def summary(self) -> str:
        """`Pulling: 3 of 7 layers, 45.2 MB`, or "" when nothing is being pulled."""
        states = self._layers.values()
        done = sum(1 for state in states if state in ("Pull complete", "Already exists"))
        if done == len(states):
            return ""
        return f"Pulling: {done} of {len(states)} layers, {sum(self._megabytes.values()):.1f} MB"

    def due(self) -> str:
        """The summary when it was not told for some time, else ""."""
        now = self.clock()
        if self._told_at is None:
            self._told_at = now
        if now - self._told_at < EVERY or not self.summary:
            return ""
        self._told_at = now
        return self.summary


@dataclass
class ComposeLines:
    """Shows the lines of Compose that are worth it, whole."""

    output: Output
    everything: bool = False
    pulls: Pulls = field(default_factory=Pulls)

    def __call__(self, line: str) -> None:
        if self.pulls.take(line) and not self.everything:
            line = self.pulls.due()
        if is_worth_showing(line, everything=self.everything):
            self.output.progress(f"  {line.rstrip()}")


@dataclass
class GateLines:
    """One line for each check, when it is settled, and another when that was taken back."""

    output: Output
    _told: dict[str, bool] = field(default_factory=dict)

    def __call__(self, progress: GateProgress) -> None:
        settled = progress.passed or progress.failed
        if not settled or self._told.get(progress.name) == progress.passed:
            return
        self._told[progress.name] = progress.passed
        mark = "ok" if progress.passed else "failed"
        self.output.progress(f"  {progress.name}: {mark} ({progress.elapsed:.1f} s)")


class _Lines:
    def __init__(self, output: Output) -> None:
        self.line = ComposeLines(output, everything=output.verbose)
        self.gate = GateLines(output)


@dataclass
class LiveView:
    """Redrawn in place: one line until the gate begins, then one for each check, with its time
    and what it waits for.

    Lines of Compose that are worth keeping scroll by above it.
    """

    console: Console
    verbose: bool = False
    _latest: dict[str, tuple[GateProgress, float]] = field(default_factory=dict)
    _step: str = "reading the Compose file"
    _pulls: Pulls = field(default_factory=Pulls)

    def __post_init__(self) -> None:
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        from rich.text import Text

        shown = redact(text.strip())
        left_out = self._pulls.take(text) and not self.verbose
        self._step = self._pulls.summary or " ".join(shown.split()) or self._step
        if not left_out and is_worth_showing(text, everything=self.verbose):
            self.console.print(Text(f"  {shown}", style="dim"))

    def gate(self, progress: GateProgress) -> None:
        self._latest[progress.name] = (progress, time.monotonic())

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        # Fixed widths for all but the last, which alone gives way on a narrow terminal.
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=max(map(len, CHECK_NAMES)))
        grid.add_column(width=len("100.0 s"), justify="right")
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for name in CHECK_NAMES:
            if name in self._latest:
                progress, since = self._latest[name]
                elapsed = progress.elapsed
                mark: Text | Spinner = self._spinner
                if progress.passed:
                    mark = Text("✓", style="green")
                elif progress.failed:
                    mark = Text("✗", style="red")
                else:
                    elapsed += time.monotonic() - since
                state = Text(redact(progress.state), style="dim")
                grid.add_row(mark, name, f"{elapsed:.1f} s", state)
        if not self._latest:
            elapsed = time.monotonic() - self._began
            step = Text(self._step, style="dim")
            grid.add_row(self._spinner, "start", f"{elapsed:.1f} s", step)
        return grid
