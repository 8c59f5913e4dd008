"""The JSON Schema of what `--json` prints.

The file beside this one is what ships and what the program prints. It is made from the modules
here by `python -m scripts.generate`; a test fails while it is stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("ktrdr-sandbox-1.schema.json")


def shipped() -> str:
    """The file's text."""
    return FILE.read_text(encoding="utf-8")
