"""Writes every file that is made from the code. `--check` only looks.

python -m scripts.generate
"""

from __future__ import annotations

import sys
from pathlib import Path

from ktrdr_sandbox.console.results import SCHEMA_FILE
from scripts import errors_page, man_page, result_schema, settings_table

ROOT = Path(__file__).resolve().parents[1]


def files() -> dict[Path, str]:
    """What each file has to hold."""
    settings = ROOT / "docs" / "settings.md"
    return {
        ROOT / "docs" / "errors.md": errors_page.page(),
        settings: settings_table.with_table(settings.read_text(encoding="utf-8")),
        ROOT / "man" / "ktrdr-sandbox.1": man_page.page(),
        SCHEMA_FILE: result_schema.text(),
    }


def main(arguments: list[str]) -> int:
    """1 with `--check` when something is stale."""
    wanted = files()
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {path}")
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
