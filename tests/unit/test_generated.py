"""Files that are made from the code are those of the code as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import generate


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    stale = "stale: run 'python -m scripts.generate'"
    assert path.read_text(encoding="utf-8") == generate.files()[path], stale


def test_the_man_page_has_no_line_that_troff_would_take_for_its_own() -> None:
    text = (generate.ROOT / "man" / "ktrdr-sandbox.1").read_text(encoding="utf-8")
    known = {".B", ".BR", ".I", ".PP", ".RE", ".RI", ".RS", ".SH", ".SS", ".TH", ".TP", ".fi"}
    for line in text.splitlines():
        if line.startswith("."):
            assert line.split()[0] in known | {".nf", '.\\"'}, line
    assert "\n.B 77\nrefused because it would lose work\n" in text
