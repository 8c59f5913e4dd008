"""Writes what is made from the code: docs/errors.md and the JSON Schema. `--check` only looks."""

from __future__ import annotations

import sys
from pathlib import Path

from ktrdr_sandbox.cli import error_table
from ktrdr_sandbox.schema import FILE, document

ROOT = Path(__file__).resolve().parents[1]


def files() -> dict[Path, str]:
    """What each file has to hold."""
    return {ROOT / "docs" / "errors.md": error_table.page(), FILE: document.text()}


def main(arguments: list[str]) -> int:
    """1 with `--check` when something is stale."""
    stale = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {path}")
        if "--check" not in arguments:
            path.write_text(files()[path], encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
