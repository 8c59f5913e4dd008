"""Where results and messages go: results on stdout, everything else on stderr.

With `json_mode` there is exactly one document on stdout and nothing on stderr.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.redaction import redact, redact_all

if TYPE_CHECKING:
    from ktrdr_sandbox.process import Outcome

SCHEMA: Final = "ktrdr-sandbox/1"


@dataclass
class Output:
    """One command's output. `command` is its name for the envelope.

    `quiet` leaves results and errors only; `verbose` shows the commands of other programs too.
    """

    command: str
    json_mode: bool = False
    quiet: bool = False
    verbose: bool = False
    messages: list[str] = field(default_factory=list)
    _stdout_takes_it: bool = True

    def tell(self, sentence: str) -> None:
        """Give the user a message: at once on stderr, or later in the envelope."""
        self.messages.append(redact(sentence))
        self.progress(sentence)

    def progress(self, line: str) -> None:
        """Show a line that only matters while it runs; never part of the envelope."""
        if not (self.json_mode or self.quiet):
            _complain(line)

    def ran(self, run: Outcome) -> None:
        """Tell of a command of another program that has ended; for `--verbose`."""
        self.tell(run.line)

    def part(self, line: str, *, failed: bool = False) -> None:
        """Show a line of a result that comes in parts: on stdout, or stderr for what failed."""
        if self.json_mode:
            return
        if failed:
            _complain(line)
        else:
            self._print(redact(line))

    def result(self, text: str, data: Mapping[str, Any]) -> None:
        """Give the command's result, as text or as the envelope. Raises `cannot-write`."""
        if self.json_mode:
            self._envelope(redact_all(data), None)
        elif text:
            self._print(redact(text))

    def disclosure(self, text: str, data: Mapping[str, Any]) -> None:
        """Give the one kind of result that keeps its secrets, for `env` was asked for just these.

        Messages beside it are redacted as ever.
        """
        if self.json_mode:
            self._envelope(data, None)
        else:
            self._print(text.removesuffix("\n"))

    def failure(self, error: SandboxError, *, data: Mapping[str, Any] | None = None) -> None:
        """Tell of an expected failure: what happened, then the hints."""
        if self.json_mode and self._stdout_takes_it:
            with contextlib.suppress(SandboxError):
                self._envelope(redact_all(data or {}), error)
                return
        _complain(f"error: {error.message}")
        for hint in error.hints:
            _complain(f"hint: {hint}")

    def _envelope(self, data: Any, error: SandboxError | None) -> None:
        failed = error and {
            "code": error.code,
            "message": error.message,
            "hints": list(error.hints),
            "details": error.details,
        }
        document = {
            "schema": SCHEMA,
            "command": self.command,
            "ok": error is None,
            "data": data,
            "messages": self.messages,
            "error": redact_all(failed),
        }
        # Pure ASCII: valid whatever the locale, and for file names that are no text at all.
        self._print(json.dumps(document))

    def _print(self, text: str) -> None:
        """Lines on stdout, at once. A reader that has enough of them (`list | head`) is no failure.

        Raises `cannot-write`; from then on failures are told on stderr, also with `--json`.
        """
        try:
            _taken(_write(sys.stdout, text))
        except SandboxError:
            self._stdout_takes_it = False
            raise


def on_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person is there. A stream that was closed before the program began is None."""
    return stream is not None and stream.isatty()


def _complain(line: str) -> None:
    """Write a line on stderr, secrets hidden. One that nobody takes ends nothing."""
    _write(sys.stderr, redact(line))


def send(line: str) -> bool:
    """Write one of many lines on stdout, shown by `flush`. False when nobody reads them.

    Raises `cannot-write`.
    """
    return _taken(_write(sys.stdout, line, flush=False))


def flush() -> bool:
    """Show what was sent. As `send`."""
    return _taken(_write(sys.stdout, None))


def _taken(trouble: OSError | None) -> bool:
    if trouble and not isinstance(trouble, BrokenPipeError):
        raise SandboxError(
            "cannot-write",
            f"The result cannot be written to standard output: {trouble.strerror or trouble}.",
            details={"path": "stdout", "errno": trouble.errno},
        )
    return trouble is None


def _write(stream: TextIO | None, text: str | None, *, flush: bool = True) -> OSError | None:
    """Write lines in one piece, for several threads do; what was in the way is returned."""
    if stream is None:  # it was closed before the program began
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        if text is not None:
            stream.write(f"{text}\n")
        if flush:
            stream.flush()
    except OSError as error:
        # What is still in the stream would bring a complaint when the program ends.
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return error
    return None
