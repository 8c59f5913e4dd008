"""Entry point of the console script and of `python -m ktrdr_sandbox`."""

from __future__ import annotations

import io
import sys

from ktrdr_sandbox.cli.app import run


def main() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is no text, or a sign the locale lacks, must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
