"""Turns errors into exits, the one place that does: expected, unexpected and interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING

import typer

from ktrdr_sandbox import __version__
from ktrdr_sandbox.cli import exit_codes, flags
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.process import listening
from ktrdr_sandbox.redaction import redact

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def command(name: str, *, json_mode: bool, when_interrupted: str = "") -> Iterator[Output]:
    """Run the body of one command; leave with the exit status of whatever ends it.

    `when_interrupted` is the sentence that tells in which state an interrupt leaves things.
    """
    output = flags.output(name, json_mode=json_mode)
    previous = _interrupt_on_termination()
    try:
        with _listening(output):
            yield output
    except SandboxError as error:
        if error.code == "interrupted" and when_interrupted:
            error.hints = (*error.hints, when_interrupted)
        output.failure(error)
        raise typer.Exit(exit_codes.exit_code(name, error.code)) from None
    except KeyboardInterrupt:
        # A second Ctrl-C while this is told must not bring a traceback after all.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from ktrdr_sandbox.commands.interrupt import end_all_commands

        end_all_commands()
        hints = (when_interrupted,) if when_interrupted else ()
        output.failure(SandboxError("interrupted", "Interrupted.", hints=hints))
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001  the boundary: anything else is our defect
        output.failure(_defect(name, error))
        raise typer.Exit(exit_codes.INTERNAL) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listening(output: Output) -> AbstractContextManager[None]:
    return listening(output.ran) if output.verbose else nullcontext()


def ended_by(name: str, error: BaseException) -> int:
    """Tell what ended a program that is not run by Typer; its exit status."""
    try:
        with command(name, json_mode=False):
            raise error
    except typer.Exit as leaving:
        return leaving.exit_code


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
    path = _write_report(name, error)
    where = f" A report is in {path}." if path else ""
    return SandboxError(
        "internal",
        f"This is a defect in ktrdr-sandbox: {type(error).__name__}: {error}.{where}",
        hints=("Please send the report file to the project.",) if path else (),
        details={"report": None if path is None else str(path)},
    )


def _write_report(name: str, error: Exception) -> Path | None:
    import platform  # for this alone, and no part of a start that goes well
    import traceback
    from datetime import UTC, datetime

    from ktrdr_sandbox.files import replace_file
    from ktrdr_sandbox.paths import log_folder

    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    path = log_folder() / f"report-{stamp}.txt"
    text = "\n".join(
        [
            f"ktrdr-sandbox {__version__}",
            f"Python {platform.python_version()}, {platform.platform()}",
            f"command: {name}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    try:
        replace_file(path, redact(text), mode=0o600)
    except SandboxError:
        return None
    return path
