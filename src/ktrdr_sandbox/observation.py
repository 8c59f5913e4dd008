"""Where commands of other programs are observed: who starts one tells, who shows them listens.

Docker is started in `engine/`, git in `worktrees/`; both tell here, and `--verbose` listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
