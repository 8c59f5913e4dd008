"""The slots there are. By themselves, because the command line needs them and little else."""

from __future__ import annotations

from typing import Final

FIRST_SLOT: Final = 1
LAST_SLOT: Final = 10
