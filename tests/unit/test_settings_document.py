"""docs/settings.md says what the settings are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ktrdr_sandbox.settings import FIELDS

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
SCRIPT = ROOT / "scripts" / "make_settings_table.py"


def test_the_table_is_up_to_date(tmp_path: Path) -> None:
    made = Path(shutil.copy(DOCUMENT, tmp_path))
    subprocess.run([sys.executable, str(SCRIPT), str(made)], check=True)
    hint = f"run: python {SCRIPT.relative_to(ROOT)} {DOCUMENT.relative_to(ROOT)}"
    assert made.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8"), hint


def test_a_table_that_is_stale_is_made_anew(tmp_path: Path) -> None:
    made = tmp_path / "settings.md"
    text = DOCUMENT.read_text(encoding="utf-8")
    made.write_text(text.replace("| `gate_timeout` ", "| `gate_limit` "), encoding="utf-8")
    subprocess.run([sys.executable, str(SCRIPT), str(made)], check=True)
    assert made.read_text(encoding="utf-8") == text


def test_every_setting_is_described() -> None:
    assert [key for key, field in FIELDS.items() if not field.description] == []
