"""What is shown while a stack starts: whole lines, so that a pipe and a terminal read the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.console.pulling import Pulls
from ktrdr_sandbox.gate.result import GateProgress

_ROUTINE: Final = re.compile(
    r"^\s*(?:Container|Network|Volume|Image) .* (?:Creating|Created|Recreate|Recreated|Starting|"
    r"Started|Running|Building|Waiting|Healthy|Stopping|Stopped|Removing|Removed|Exists|Built)\s*$"
)
_NOISE: Final = re.compile(
    r"variable is not set. Defaulting to a blank string"
    r"|buildx Docker CLI plugin not found: falling back"
)


@dataclass
class ComposeLines:
    """Shows builds, pulls and complaints of Compose; its routine lines only when asked."""

    output: Output
    everything: bool = False
    pulls: Pulls = field(default_factory=Pulls)

    def __call__(self, line: str) -> None:
        if self.pulls.take(line) and not self.everything:
            line = self.pulls.due()
        if self.shows(line, everything=self.everything):
            self.output.progress(f"  {line.rstrip()}")

    @staticmethod
    def shows(line: str, *, everything: bool) -> bool:
        """Whether a line of Compose is worth showing."""
        return bool(line.strip()) and (everything or not _is_routine(line))


def _is_routine(line: str) -> bool:
    return bool(_ROUTINE.search(line) or _NOISE.search(line))


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
