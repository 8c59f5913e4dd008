"""How far a copy is, in words and as a bar."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ktrdr_sandbox.console.copying import Pace, Speed, bar_on, line, on
from ktrdr_sandbox.shared_data.results import Progress

GIB = 1024**3
HALF = Progress("copying", GIB // 2, GIB, 1_234, 20_004)


def test_all_of_it_in_one_line() -> None:
    assert line(HALF, Speed(310e6, 125)) == (
        "  copying: 537 MB of 1.1 GB, 1,234 of 20,004 files, 310 MB/s, 2 min 5 s left"
    )


def test_nothing_is_made_up_before_there_is_something_to_tell() -> None:
    assert (
        line(Progress("copying", 0, GIB, 0, 1), Speed()) == "  copying: 0 B of 1.1 GB, 0 of 1 file"
    )
    assert line(Progress("downloading", 1000, None, 0, None), Speed(500)) == (
        "  downloading: 1.0 kB, 500 B/s"
    )


def test_the_pace_of_a_stage_counts_from_its_own_beginning() -> None:
    pace = Pace()
    assert pace.speed(Progress("downloading", 5000, 8000, 0, None), 10.0) == Speed()
    assert pace.speed(Progress("downloading", 6000, 8000, 0, None), 12.0) == Speed(500, 4)
    assert pace.speed(Progress("checking", 0, 8000, 0, None), 12.0) == Speed()
    assert pace.speed(Progress("checking", 4000, 8000, 0, None), 13.0) == Speed(4000, 1)
    assert pace.speed(Progress("checking", 5000, None, 0, None), 14.0) == Speed(2500)


def test_small_files_that_are_left_take_time_whatever_their_bytes() -> None:
    pace = Pace()
    pace.speed(Progress("copying", 0, GIB + 1000, 0, 20_001), 0.0)
    left = pace.speed(Progress("copying", GIB, GIB + 1000, 1, 20_001), 4.0).left
    assert left is not None
    assert left > 2


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, "copying {bar} 537 MB of 1.1 GB 1,234/20,004 files"),
        (80, "copying {bar} 537 MB of 1.1 GB 1,234/20,004 files"),
        (79, "copying 537 MB of 1.1 GB 1,234/20,004 files"),
        (68, "copying 537 MB of 1.1 GB 1,234/20,004 files"),
        (67, "copying 537 MB of 1.1 GB"),
        (30, "copying 537 MB of 1.1 GB"),
    ],
)
def test_the_bar_takes_one_line_however_narrow_the_terminal(width: int, shown: str) -> None:
    console = Console(file=io.StringIO(), width=width, no_color=True, color_system=None)
    bar = bar_on(console)
    on(bar)(HALF)
    console.print(bar.get_renderable())
    (text,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert re.sub("[━╺╸]+", "{bar}", text).split() == shown.split()
    assert len(text) <= width


@pytest.mark.parametrize("width", [40, 68, 80, 120])
def test_the_longest_of_all_fits_as_well(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, no_color=True, color_system=None)
    bar = bar_on(console)
    observe = on(bar)
    observe(Progress("copying", 0, 999 * GIB, 0, 199_999))
    observe(Progress("copying", 888 * GIB, 999 * GIB, 123_456, 199_999))
    console.print(bar.get_renderable())
    (text,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "953 GB of 1.1 TB" in text


def test_of_two_stages_the_last_is_shown() -> None:
    console = Console(file=io.StringIO(), width=60, no_color=True, color_system=None)
    bar = bar_on(console)
    observe = on(bar)
    observe(Progress("looking", 0, None, 0, None))
    observe(HALF)
    console.print(bar.get_renderable())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "looking" not in text
    assert text.startswith("copying 537 MB of 1.1 GB")
