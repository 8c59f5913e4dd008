"""When a virtual environment is used as it is."""

from pathlib import Path

import pytest

from tests.lab.venv import Stamp, Venv

MADE = Stamp("/clone", "1234", frozenset({"test"}))


@pytest.mark.parametrize(
    ("wanted", "serves"),
    [
        (MADE, True),
        (Stamp("/clone", "1234"), True),
        (Stamp("/clone", "1234", frozenset({"test", "docs"})), False),
        (Stamp("/clone", "5678"), False),
        (Stamp("/elsewhere", "1234"), False),
    ],
)
def test_what_it_was_made_of_decides(wanted: Stamp, serves: bool) -> None:
    assert MADE.serves(wanted) is serves


@pytest.mark.parametrize("content", ["", "[]", "{}", "null"])
def test_a_damaged_stamp_is_no_stamp(tmp_path: Path, content: str) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ktrdr-sandbox-lab.json").write_text(content)
    assert Venv(clone=tmp_path, cache=tmp_path).stamp() is None
