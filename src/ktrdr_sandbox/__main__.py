"""Entry point of the console script and of `python -m ktrdr_sandbox`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

INTERRUPTED = 130
"""As in `cli/exit_codes.py`, which may not have been read yet."""


def main(arguments: Sequence[str] | None = None, *, program: str = "ktrdr-sandbox") -> NoReturn:
    """Run a command line, this process's by default. `program` is what messages call it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no text, or a sign the locale lacks, must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Here and not above: a tenth of a second in which Ctrl-C must not bring a traceback.
        from ktrdr_sandbox.cli.app import run

        status = run(sys.argv[1:] if arguments is None else arguments, program=program)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
