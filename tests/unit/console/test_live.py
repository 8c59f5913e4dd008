"""What a start looks like while it goes on."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.console.start_view import LiveView, PlainView, can_redraw, watching
from ktrdr_sandbox.gate.result import CheckName, GateProgress


def terminal(*, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, no_color=True)


def drawn(view: LiveView) -> list[str]:
    """The lines as they are on the screen now, times replaced."""
    console = Console(file=io.StringIO(), width=view.console.width)
    console.print(view)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"\d\.\d s", text)
    return [re.sub(r" *\d+\.\d s", " <t>", line).rstrip() for line in text.splitlines()]


def printed(view: LiveView) -> str:
    return str(view.console.file.getvalue())  # type: ignore[attr-defined]


def progress(
    name: CheckName, state: str, *, elapsed: float = 1.0, passed: bool = False, failed: bool = False
) -> GateProgress:
    return GateProgress(name=name, elapsed=elapsed, state=state, passed=passed, failed=failed)


def test_before_the_gate_there_is_one_line_with_what_compose_does() -> None:
    view = LiveView(terminal())
    assert drawn(view)[0].endswith("start <t>  reading the Compose file")
    view.line(" Container ktrdr--feat-x-db-1  Creating ")
    (line,) = drawn(view)
    assert line.endswith("start <t>  Container ktrdr--feat-x-db-1 Creating")
    assert printed(view) == "", "routine is not kept"


def test_what_is_worth_keeping_scrolls_by() -> None:
    view = LiveView(terminal())
    view.line("Step 3/12 : RUN make")
    assert "Step 3/12 : RUN make" in printed(view)


def test_everything_is_kept_when_asked() -> None:
    view = LiveView(terminal(), verbose=True)
    view.line(" Container ktrdr--feat-x-db-1  Creating ")
    assert "Creating" in printed(view)


def test_then_there_is_one_line_for_each_check_in_the_order_of_the_report() -> None:
    view = LiveView(terminal())
    view.gate(progress("workers", "waiting for the backend"))
    view.gate(progress("database", "Database ready", passed=True))
    view.gate(progress("containers", "db exited (1)", failed=True))
    containers, database, workers = drawn(view)
    assert containers == "✗  containers <t>  db exited (1)"
    assert database == "✓  database <t>  Database ready"
    assert workers.endswith("workers <t>  waiting for the backend")


def test_a_settled_check_keeps_its_time() -> None:
    view = LiveView(terminal())
    view.gate(progress("database", "Database ready", elapsed=2.25, passed=True))
    console = Console(file=io.StringIO(), width=80)
    console.print(view)
    assert "2.2 s" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_narrow_terminal_cuts_what_is_waited_for_and_nothing_else() -> None:
    view = LiveView(terminal(width=40))
    view.gate(progress("observability", "waiting for HTTP 200 at http://localhost:3001/api/health"))
    (line,) = drawn(view)
    assert "observability" in line
    assert line.endswith("…")


def test_secrets_are_not_drawn() -> None:
    view = LiveView(terminal(), verbose=True)
    view.line("connecting to postgresql://ktrdr:hunter2@db/ktrdr")
    assert "hunter2" not in printed(view)
    assert "hunter2" not in drawn(view)[0]


def test_a_terminal_that_cannot_go_back_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not can_redraw(terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert can_redraw(terminal())


def test_a_pipe_gets_one_whole_line_for_each_check_that_is_settled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with watching(Output(command="up")) as view:
        view.line(" Container ktrdr--feat-x-db-1  Creating ")
        view.gate(progress("database", "waiting for db to start"))
        view.gate(progress("database", "Database ready", elapsed=1.25, passed=True))
        view.gate(progress("workers", "training-worker-1 exited (1)", failed=True))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "  database: ok (1.2 s)\n  workers: failed (1.0 s)\n"


def test_json_mode_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Output(command="up", json_mode=True)) as view:
        view.line("Step 3/12 : RUN make")
        view.gate(progress("database", "Database ready", passed=True))
    assert capsys.readouterr() == ("", "")


def test_a_pipe_is_told_when_what_passed_has_failed_after_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainView(Output("up"))
    view.gate(progress("containers", "0 of 1 run, waiting for db"))
    view.gate(progress("containers", "Containers running", passed=True))
    view.gate(progress("containers", "Containers running", elapsed=2.0, passed=True))
    view.gate(progress("containers", "looking again: a container has restarted or ended"))
    view.gate(progress("containers", "db exited (1)", elapsed=2.5, failed=True))
    assert capsys.readouterr().err.splitlines() == [
        "  containers: ok (1.0 s)",
        "  containers: failed (2.5 s)",
    ]


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_left_out_where_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    view = LiveView(console)
    view.gate(progress("database", "Database ready", passed=True))
    console.print(view)
    colours = re.search(r"\x1b\[[0-9;]*3[0-7]", printed(view))
    assert (colours is not None) is coloured


def test_quiet_shows_no_view(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Output(command="up", quiet=True)) as view:
        view.line("Step 3/12 : RUN make")
        view.gate(progress("database", "Database ready", passed=True))
    assert capsys.readouterr() == ("", "")


def test_verbose_shows_also_the_routine_of_compose(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Output(command="up", verbose=True)) as view:
        view.line(" Container ktrdr--feat-x-db-1  Creating ")
    assert capsys.readouterr().err == "   Container ktrdr--feat-x-db-1  Creating\n"
