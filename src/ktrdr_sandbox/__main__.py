"""Entry point of the console script and of `python -m ktrdr_sandbox`."""

from __future__ import annotations

import sys

from ktrdr_sandbox.cli.app import run


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
