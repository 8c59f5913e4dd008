"""How far a copy is, in words and as a bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ktrdr_sandbox.console.shared_progress import bar_on, progress_text, shown_on
from ktrdr_sandbox.shared.results import Progress

GIB = 1024**3
HALF = Progress("copying", GIB // 2, GIB, 1_234, 20_004)


def test_all_of_it_in_one_line() -> None:
    assert progress_text(HALF, 310e6) == (
        "  copying: 537 MB of 1.1 GB, 1,234 of 20,004 files, 310 MB/s, 2 s left"
    )


def test_nothing_is_made_up_before_there_is_something_to_tell() -> None:
    nothing = Progress("copying", 0, GIB, 0, 1)
    assert progress_text(nothing, 0) == "  copying: 0 B of 1.1 GB, 0 of 1 file"
    unknown = Progress("downloading", 1000)
    assert progress_text(unknown, 500) == "  downloading: 1.0 kB, 500 B/s"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_bar_takes_one_line_however_narrow_the_terminal(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, no_color=True, color_system=None)
    bar = bar_on(console)
    observe = shown_on(bar)
    observe(Progress("looking"))
    observe(HALF)
    console.print(bar.get_renderable())
    (text,) = file.getvalue().splitlines()
    assert text.startswith("copying")
    assert "0.5/1.1 GB" in text
    assert len(text) <= width
