"""The lines of a pull: thousands for a large image, of which a few are for people."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.console.start_view import EVERY, LiveView, PlainView, Pulls

PULL = (
    " Image prom/prometheus:latest Pulling ",
    " Image prom/prometheus:latest Pulling ",
    " 7be7e5ac6adb Pulling fs layer 0B",
    " f4917ba54e38 Pulling fs layer 0B",
    " 01234567abcd Already exists 0B",
    " 7be7e5ac6adb Downloading 512.5kB",
    " 7be7e5ac6adb Downloading 30.5MB",
    " f4917ba54e38 Downloading [=====>     ] 1.25GB/2.5GB",
    " 7be7e5ac6adb Download complete 0B",
    " 7be7e5ac6adb Extracting 32.77kB",
    " 7be7e5ac6adb Pull complete 0B",
)
END = (" f4917ba54e38 Pull complete 0B", " Image prom/prometheus:latest Pulled ")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_kept_of_a_pull() -> None:
    pulls = Pulls()
    kept = [line.strip() for line in (*PULL, *END) if not pulls.take(line)]
    assert kept == ["Image prom/prometheus:latest Pulling", "Image prom/prometheus:latest Pulled"]


def test_how_far_it_is() -> None:
    pulls = Pulls()
    assert pulls.summary == ""
    for line in PULL:
        pulls.take(line)
    assert pulls.summary == "Pulling: 2 of 3 layers, 1280.5 MB"
    pulls.take(END[0])
    assert pulls.summary == "", "it is over"


def test_lines_of_a_build_stay() -> None:
    pulls = Pulls()
    assert not pulls.take("Step 3/12 : RUN pip install -e .")
    assert not pulls.take("#9 [5/7] RUN pip install -e .")
    assert not pulls.take("#9 12.3 Downloading numpy-2.0.whl (18.1 MB)")
    assert pulls.take("#5 sha256:7be7e5ac6adb 12.58MB / 30.1MB 1.2s")
    assert pulls.take("#5 extracting sha256:7be7e5ac6adb 0.3s done")


def test_it_is_told_now_and_then_where_lines_stay() -> None:
    clock = Clock()
    pulls = Pulls(clock)
    told = []
    for tick in range(81):
        pulls.take(f" 7be7e5ac6adb Downloading {tick}MB")
        told.append(pulls.due())
        clock.now += EVERY / 40
    assert [line for line in told if line] == [
        "Pulling: 0 of 1 layers, 40.0 MB",
        "Pulling: 0 of 1 layers, 80.0 MB",
    ]


def test_a_pipe_gets_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    view = PlainView(Output("up"), pulls=Pulls(clock))
    for line in (*PULL, *END):
        view.line(line)
        clock.now += EVERY / 6
    assert capsys.readouterr().err.splitlines() == [
        "   Image prom/prometheus:latest Pulling",
        "  Pulling: 1 of 3 layers, 1280.5 MB",
        "   Image prom/prometheus:latest Pulled",
    ]


def test_a_terminal_shows_how_far_it_is_in_its_one_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
    view = LiveView(console)
    for line in PULL:
        view.line(line)
    shown = Console(file=io.StringIO(), width=80)
    shown.print(view)
    assert "Pulling: 2 of 3 layers, 1280.5 MB" in shown.file.getvalue()  # type: ignore[attr-defined]
    scrolled = console.file.getvalue()  # type: ignore[attr-defined]
    assert scrolled.count("Pulling") == 1


def test_everything_is_shown_when_asked() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
    view = LiveView(console, verbose=True)
    for line in PULL:
        view.line(line)
    scrolled = console.file.getvalue()  # type: ignore[attr-defined]
    assert scrolled.count("Downloading") == 3
