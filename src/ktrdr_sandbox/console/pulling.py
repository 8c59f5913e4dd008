"""Pulls of images: a line for each layer and tick, made into one that people can read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

EVERY: Final = 5.0
"""Seconds between two lines about a pull where lines stay."""

_LAYER: Final = re.compile(
    r"^\s*([0-9a-f]{12}) (Pulling fs layer|Waiting|Downloading|Verifying Checksum|"
    r"Download complete|Extracting|Pull complete|Already exists)\b(.*)$"
)
_BUILDKIT: Final = re.compile(r"^#\d+ (?:sha256:|extracting sha256:)")
_ENDS: Final = re.compile(r"^\s*(?:Image )?\S+ (?:Pulling|Pulled)\s*$")
_SIZE: Final = re.compile(r"([\d.]+)\s?([kMGT]?)B\b")
_UNITS: Final = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3, "T": 1e6}
"""In megabytes, as Docker counts them."""

_DONE: Final = ("Pull complete", "Already exists")


@dataclass
class Pulls:
    """The layers of all images that are being pulled."""

    clock: Callable[[], float] = time.monotonic
    _layers: dict[str, str] = field(default_factory=dict)
    _megabytes: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _told_at: float | None = None

    def take(self, line: str) -> bool:
        """Whether a line is of a pull and to be left out: a layer's, or one said before.

        Services that share an image each announce its pull.
        """
        if _BUILDKIT.match(line):
            return True
        if _ENDS.match(line):
            said = line.strip() in self._told
            self._told.add(line.strip())
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
        done = sum(1 for state in self._layers.values() if state in _DONE)
        if done == len(self._layers):
            return ""
        return (
            f"Pulling: {done} of {len(self._layers)} layers, {sum(self._megabytes.values()):.1f} MB"
        )

    def due(self) -> str:
        """The summary when it was not told for some time, else ""."""
        now = self.clock()
        if self._told_at is None:
            self._told_at = now
        if now - self._told_at < EVERY or not self.summary:
            return ""
        self._told_at = now
        return self.summary
