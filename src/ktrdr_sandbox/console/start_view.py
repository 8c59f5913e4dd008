"""How a start is watched: whole lines for pipes and files, redrawn where stderr is a terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.gate.result import CHECK_NAMES, GateProgress
from ktrdr_sandbox.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

EVERY: Final = 5.0  # seconds between two lines about a pull where lines stay

_ROUTINE: Final = re.compile(
    r"^\s*(?:Container|Network|Volume|Image) .* (?:Creating|Created|Recreate|Recreated|Starting|"
    r"Started|Running|Building|Waiting|Healthy|Stopping|Stopped|Removing|Removed|Exists|Built)\s*$"
    r"|variable is not set. Defaulting to a blank string"
    r"|buildx Docker CLI plugin not found: falling back"
    r"|^\s*$"
)
_LAYER: Final = re.compile(
    r"^\s*([0-9a-f]{12}) (Pulling fs layer|Waiting|Downloading|Verifying Checksum|"
    r"Download complete|Extracting|Pull complete|Already exists)\b(.*)$"
)
_BUILDKIT: Final = re.compile(r"^#\d+ (?:sha256:|extracting sha256:)")
_IMAGE: Final = re.compile(r"^\s*(?:Image )?\S+ (?:Pulling|Pulled)\s*$")
_SIZE: Final = re.compile(r"([\d.]+)\s?([kMGT]?)B\b")
_MEGABYTES: Final = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}  # as Docker counts them


@dataclass
class Pulls:
    """The layers of all images that are being pulled: many lines, made into one."""

    clock: Callable[[], float] = time.monotonic
    _layers: dict[str, str] = field(default_factory=dict)
    _megabytes: dict[str, float] = field(default_factory=dict)
    _images: set[str] = field(default_factory=set)
    _told_at: float | None = None

    def take(self, line: str) -> bool:
        """Tell whether a line is of a pull and to be left out: a layer's, or one said before.

        Services that share an image each announce its pull.
        """
        if _IMAGE.match(line):
            said = line.strip() in self._images
            self._images.add(line.strip())
            return said
        found = _LAYER.match(line)
        if found is None:
            return bool(_BUILDKIT.match(line))
        layer, state, rest = found.groups()
        self._layers[layer] = state
        if state == "Downloading" and (size := _SIZE.search(rest)):
            self._megabytes[layer] = float(size[1]) * _MEGABYTES[size[2]]
        return True

    @property
    def summary(self) -> str:
        """`Pulling: 3 of 7 layers, 45.2 MB`, or "" when nothing is being pulled."""
        states = list(self._layers.values())
        done = states.count("Pull complete") + states.count("Already exists")
        if done == len(states):
            return ""
        return f"Pulling: {done} of {len(states)} layers, {sum(self._megabytes.values()):.1f} MB"

    def due(self) -> str:
        """Give the summary when it was not told for some time, else ""."""
        now = self.clock()
        if self._told_at is None:
            self._told_at = now
        if now - self._told_at < EVERY or not self.summary:
            return ""
        self._told_at = now
        return self.summary


@dataclass
class PlainView:
    """Whole lines: those of Compose that are worth it, and one for each check that is settled."""

    output: Output
    pulls: Pulls = field(default_factory=Pulls)
    _told: dict[str, bool] = field(default_factory=dict)

    def line(self, text: str) -> None:
        """Show a line of Compose: builds, pulls and complaints; its routine when asked."""
        if self.pulls.take(text) and not self.output.verbose:
            text = self.pulls.due()
        if text.strip() and (self.output.verbose or not _ROUTINE.search(text)):
            self.output.progress(f"  {text.rstrip()}")

    def gate(self, progress: GateProgress) -> None:
        """Tell of a check when it is settled, and again when that was taken back."""
        settled = progress.passed or progress.failed
        if settled and self._told.get(progress.name) != progress.passed:
            self._told[progress.name] = progress.passed
            mark = "ok" if progress.passed else "failed"
            self.output.progress(f"  {progress.name}: {mark} ({progress.elapsed:.1f} s)")


@contextmanager
def watching(output: Output) -> Iterator[PlainView | LiveView]:
    """Watch a start: live where stderr is a terminal that can go back over its lines."""
    if output.json_mode or output.quiet or not on_terminal(sys.stderr):
        yield PlainView(output)
        return
    from rich.console import Console  # only where something is drawn
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    if not can_redraw(console):
        yield PlainView(output)
        return
    view = LiveView(console, output.verbose)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view


def can_redraw(console: Console) -> bool:
    """Tell whether the terminal can go back over its lines, and has the signs that are drawn."""
    return console.is_terminal and not console.is_dumb_terminal and "utf" in console.encoding


@dataclass
class LiveView:
    """One line until the gate begins, then one for each check, with its time and what it waits for.

    Lines of Compose that are worth keeping scroll by above it.
    """

    console: Console
    verbose: bool = False
    _latest: dict[str, tuple[GateProgress, float]] = field(default_factory=dict)
    _step: str = "reading the Compose file"
    _pulls: Pulls = field(default_factory=Pulls)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")

    def line(self, text: str) -> None:
        """Show a line of Compose."""
        from rich.text import Text

        shown = redact(text.strip())
        left_out = self._pulls.take(text) or bool(_ROUTINE.search(text))
        self._step = self._pulls.summary or " ".join(shown.split()) or self._step
        if shown and (self.verbose or not left_out):
            self.console.print(Text(f"  {shown}", style="dim"))

    def gate(self, progress: GateProgress) -> None:
        """Show how far a check is."""
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

        def row(mark: Text | Spinner, name: str, elapsed: float, state: str) -> None:
            grid.add_row(mark, name, f"{elapsed:.1f} s", Text(state, style="dim"))

        if not self._latest:
            row(self._spinner, "start", time.monotonic() - self._began, self._step)
        for name in CHECK_NAMES:
            if name not in self._latest:
                continue
            progress, since = self._latest[name]
            state = redact(progress.state)
            if progress.passed:
                row(Text("✓", style="green"), name, progress.elapsed, state)
            elif progress.failed:
                row(Text("✗", style="red"), name, progress.elapsed, state)
            else:
                row(self._spinner, name, progress.elapsed + time.monotonic() - since, state)
        return grid
