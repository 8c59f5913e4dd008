"""Turns errors into exits, the one place that does: expected, unexpected and interrupted."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from types import FrameType
from typing import Any, NoReturn

import typer

from ktrdr_sandbox import __version__
from ktrdr_sandbox.cli import error_table, params
from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.paths import log_folder
from ktrdr_sandbox.redaction import redact


@contextmanager
def command(name: str, *, when_interrupted: str = "") -> Iterator[Output]:
    """Run the body of one command; leave with the exit status of whatever ends it.

    `when_interrupted` is the sentence that tells in which state an interrupt leaves things.
    """
    output = params.output(name)
    hints = (when_interrupted,) if when_interrupted else ()
    previous = _interrupt_on_termination()
    try:
        with _listening(output):
            yield output
    except SandboxError as error:
        if error.code == "interrupted":
            error.hints = (*error.hints, *hints)
        output.failure(error)
        raise typer.Exit(error_table.exit_code(name, error.code)) from None
    except KeyboardInterrupt:
        # A second Ctrl-C while this is told must not bring a traceback after all.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from ktrdr_sandbox.process import end_all  # as in `_listening`

        end_all()
        output.failure(SandboxError("interrupted", "Interrupted.", hints=hints))
        raise typer.Exit(error_table.INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001  the boundary: anything else is our defect
        output.failure(_defect(name, error))
        raise typer.Exit(error_table.INTERNAL) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave_with_failure(
    output: Output, text: str, data: Any, error: SandboxError, *, told: bool
) -> NoReturn:
    """Show a result that is a failure too, and leave with the failure's status.

    A document has both. Elsewhere the text is enough where it has `told` the failure.
    """
    if not output.json_mode:
        output.result(text, data)
    if output.json_mode or not told:
        output.failure(error, data=data)
    raise typer.Exit(error_table.exit_code(output.command, error.code))


def confirm(output: Output, question: str, *, refusal: str, hint: str, declined: str) -> None:
    """Ask on the terminal. Raises `confirmation-needed` without one, `interrupted` for a no."""
    if output.json_mode or not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
        raise SandboxError("confirmation-needed", refusal, hints=(hint,))
    if not typer.confirm(question, default=False, err=True):
        raise SandboxError("interrupted", declined)


def ended_by(name: str, error: BaseException) -> int:
    """Tell what ended a program that is not run by Typer; return its exit status."""
    try:
        with command(name):
            raise error
    except typer.Exit as leaving:
        return leaving.exit_code


def _listening(output: Output) -> AbstractContextManager[None]:
    if not output.verbose:
        return nullcontext()
    from ktrdr_sandbox.process import listening  # what starts no program is quicker without

    return listening(output.ran)


def _interrupt_on_termination() -> dict[signal.Signals, signal._HANDLER]:
    """Let SIGTERM and SIGHUP undo half-done work as an interrupt does.

    Not one that whoever started us has us ignore: `nohup` wants this to outlive its terminal.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if callable(signal.getsignal(signal.SIGINT)):
            # By way of whoever handles interrupts now: an event loop ends its tasks in order.
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt

    both = (signal.SIGTERM, signal.SIGHUP)
    wanted = [number for number in both if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        return {number: signal.signal(number, interrupt) for number in wanted}
    except ValueError:  # not the main thread: whoever runs us there handles signals
        return {}


def _defect(name: str, error: Exception) -> SandboxError:
    """Write a report for the project where that can be done, and make the failure that names it."""
    import platform  # which takes long, for this alone

    message = f"This is a defect in ktrdr-sandbox: {type(error).__name__}: {error}."
    path = log_folder() / f"report-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    lines = [
        f"ktrdr-sandbox {__version__}",
        f"Python {platform.python_version()}, {platform.platform()}",
        f"command: {name}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    try:
        replace_file(path, redact("\n".join(lines)), mode=0o600)
    except SandboxError:
        return SandboxError("internal", message, details={"report": None})
    return SandboxError(
        "internal",
        f"{message} A report is in {path}.",
        hints=("Please send the report file to the project.",),
        details={"report": str(path)},
    )
