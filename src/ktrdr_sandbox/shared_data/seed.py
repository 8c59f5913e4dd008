"""The seed pack that comes with the program: a little of everything, for want of better."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("seed")
NAME: Final = "seed pack"

TIME_NS: Final = 1_767_225_600 * 10**9
"""Time of its files, 2026-01-01 UTC: that of an installed file tells when the program came. To be
moved on when the pack changes, or a change of content would not be seen."""
