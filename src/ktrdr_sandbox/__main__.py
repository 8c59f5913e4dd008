"""Entry point of the console script and of `python -m ktrdr_sandbox`."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

INTERRUPTED = 130  # as in `cli/error_table.py`, which may not have been read yet


def main(arguments: Sequence[str] | None = None, *, program: str = "ktrdr-sandbox") -> NoReturn:
    """Run a command line, this process's by default. `program` is what messages call it."""
    for number in range(3):  # where one was closed, the next file opened would take its place
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no text, or a sign the locale lacks, must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Here and not above: a tenth of a second in which Ctrl-C must not bring a traceback.
        from ktrdr_sandbox.cli.app import run

        status = run(sys.argv[1:] if arguments is None else arguments, program=program)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from ktrdr_sandbox.console.output import Output
        from ktrdr_sandbox.errors import SandboxError

        output = Output(command="", json_mode="--json" in sys.argv[1:])
        output.failure(SandboxError("interrupted", "Interrupted."))
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
