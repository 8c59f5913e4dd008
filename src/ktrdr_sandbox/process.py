"""Puts another program in this one's place: same process, terminal, directory and signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TextIO

from ktrdr_sandbox.redaction import redact_all


@dataclass(slots=True, kw_only=True)
class Run:
    """One command that has ended, or has been given up. Times in seconds."""

    argv: tuple[str, ...]
    cwd: Path | None = None
    exit_code: int | None = None
    """None when it was ended before its time, or could not be started."""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """`ran in /src/ktrdr (exit status 0, 0.02 s): git status`, without secrets."""
        where = f" in {self.cwd}" if self.cwd else ""
        how = "no exit status" if self.exit_code is None else f"exit status {self.exit_code}"
        import shlex  # only where somebody listens

        command = shlex.join(redact_all(self.argv))
        return f"ran{where} ({how}, {self.seconds:.2f} s): {_one_line(command)}"


Listener = Callable[[Run], None]

# Not one for each thread or context: commands are started by threads of other people's making.
_listeners: Final[list[Listener]] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Give `listener` every command that ends meanwhile, in whatever thread it was started."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def observed(argv: Sequence[str], *, cwd: Path | None = None) -> Iterator[Run]:
    """Around the life of one command. The block puts its exit status in."""
    run = Run(argv=tuple(argv), cwd=cwd)
    began = time.monotonic()
    try:
        yield run
    finally:
        run.seconds = time.monotonic() - began
        for listener in tuple(_listeners):
            listener(run)


def _one_line(text: str) -> str:
    """A script given as an argument has lines of its own."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def become(argv: Sequence[str], *, environment: Mapping[str, str]) -> NoReturn:
    """From here on this process is that program, and its exit status the program's own.

    A name without a slash is looked up on the PATH of `environment`. Raises OSError, and goes on as
    before, when it cannot be started: FileNotFoundError, PermissionError, or others.
    """
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None:  # as after `>&-`
            stream.flush()
    with _signals_as_a_shell_gives_them():
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606  no shell is the point


@contextmanager
def _signals_as_a_shell_gives_them() -> Iterator[None]:
    """Python ignores these two for itself, and what is ignored stays so in the next program:
    `... | head` would then end with a complaint of it and not quietly."""
    numbers = (signal.SIGPIPE, signal.SIGXFSZ)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
