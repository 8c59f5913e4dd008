"""docs/benchmarks.md: measured rows are renewed, all others stay as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import ROWS
from tests.bench.harness import Pair, alternate, seconds
from tests.bench.page import PAGE, Growth, Row, write

FAST = Row(work="`fast`", against="`raw`", wanted=1.3)
SLOW = Row(work="`slow`", against="`raw`", wanted=0.2, rest="starting")
LISTED = Growth(work="`list`", few=0.2, many=0.38)


def lines(page: Path) -> list[str]:
    return [one for one in page.read_text(encoding="utf-8").splitlines() if one.startswith("| `")]


def test_a_page_that_was_not_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write(page, [FAST, SLOW], {FAST.work: Pair(ours=[0.3, 0.1, 0.2], raw=[0.1, 0.1, 0.4])}, [])
    fast, slow = lines(page)
    assert fast.startswith("| `fast` | `raw` | 1.30 | 2.00 | 200 ms | 100 ms | 3 | ")
    assert slow == "| `slow` | `raw` | 0.20 | not measured | | | | | starting |"


def test_what_is_not_measured_again_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write(page, [FAST, SLOW], {SLOW.work: Pair(ours=[12.0], raw=[64.0])}, [LISTED])
    _, before, grown = lines(page)
    assert before.startswith("| `slow` | `raw` | 0.20 | 0.19 | 12.0 s | 64.0 s | 1 | ")
    assert grown == "| `list` | 200 ms | 380 ms | 1.00 ms |"
    write(page, [FAST, SLOW], {FAST.work: Pair(ours=[0.1], raw=[0.1])}, [])
    fast, slow, still = lines(page)
    assert (slow, still) == (before, grown)
    assert fast.startswith("| `fast` | `raw` | 1.30 | 1.00 | ")


def test_a_remark_follows_the_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write(page, [SLOW], {SLOW.work: Pair(ours=[12.0], raw=[64.0])}, [])
    later = Row(work=SLOW.work, against=SLOW.against, wanted=SLOW.wanted, rest="starting, pulling")
    write(page, [later], {}, [])
    (line,) = lines(page)
    assert "| 12.0 s | 64.0 s |" in line
    assert line.endswith(" | starting, pulling |")


def test_the_page_has_every_row(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write(page, ROWS, {}, [])
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_both_are_run_in_turn_and_the_first_time_is_not_counted() -> None:
    seen: list[str] = []
    pair = alternate(
        2,
        ours=lambda: seen.append("ours"),
        raw=lambda: seen.append("raw"),
        after=lambda: seen.append("after"),
    )
    assert seen == ["raw", "ours", "after"] * 3
    assert (pair.runs, len(pair.raw)) == (2, 2)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.1234, "123 ms"), (0.999, "999 ms"), (1.0, "1.0 s")]
)
def test_seconds_are_shown_as_people_say_them(value: float, shown: str) -> None:
    assert seconds(value) == shown
