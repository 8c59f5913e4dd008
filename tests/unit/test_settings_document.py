"""docs/settings.md says what the settings are."""

from __future__ import annotations

from ktrdr_sandbox.settings import FIELDS
from scripts import generate, settings_table

DOCUMENT = generate.ROOT / "docs" / "settings.md"


def test_a_table_that_is_stale_is_made_anew() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    stale = text.replace("| `gate_timeout` ", "| `gate_limit` ")
    assert stale != text
    assert settings_table.with_table(stale) == text


def test_every_setting_is_described() -> None:
    assert [key for key, field in FIELDS.items() if not field.metadata["description"]] == []
