"""Puts another program in this one's place: same process, terminal, directory and signals.

A module of its own, for the alias starts nothing else and must not load what the runner needs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, TextIO


def exec_process(argv: Sequence[str], *, environment: Mapping[str, str]) -> NoReturn:
    """From here on this process is that program, and its exit status the program's own.

    A name without a slash is looked up on the PATH of `environment`. Raises OSError, and goes on as
    before, when it cannot be started: FileNotFoundError, PermissionError, or others.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None:  # as after `>&-`
            stream.flush()
    # Python ignores these two for itself, and what is ignored stays so in the next program:
    # `... | head` would then end with a complaint of it and not quietly.
    numbers = (signal.SIGPIPE, signal.SIGXFSZ)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606  no shell is the point
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
