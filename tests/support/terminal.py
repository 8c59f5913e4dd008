"""The program on a terminal of its own: typed at, and read from, as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.processes import is_alive

CONTROL_C: Final = b"\x03"
SIZE: Final = (40, 100)
"""Lines and columns."""

PATIENCE: Final = 120.0
"""Seconds for a text to appear or the program to end: far more than any needs."""

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\x1b\][^\x07]*\x07")

# A session of its own is not enough: what is typed makes signals only for the terminal it owns.
_OWN_THE_TERMINAL: Final = (
    "import fcntl, os, signal, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    "os.execvpe(sys.argv[1], sys.argv[1:], os.environ)\n"
)


class Terminal:
    """A running program and what it has shown. `raw` keeps the control sequences."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self.raw = b""
        self._fd = fd
        self._typed_at = 0.0

    @property
    def text(self) -> str:
        """All that was ever shown, without control sequences: what was drawn over is there too."""
        return self.plain(self.raw)

    @staticmethod
    def plain(raw: bytes) -> str:
        """Text without control sequences."""
        plain = _CONTROL.sub("", raw.decode(errors="replace"))
        return plain.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.text.splitlines() if line.strip()]

    def until(self, pattern: str, *, within: float = PATIENCE, after: int = 0) -> None:
        """Read until the text has the pattern. Fails when the program ends without it.

        `after`: so many bytes of what was shown are not looked at.
        """
        deadline = time.monotonic() + within
        while not re.search(pattern, self.plain(self.raw[after:])):
            assert time.monotonic() < deadline, f"no {pattern!r} in time:\n{self.text}"
            assert self._read(), f"ended without {pattern!r}:\n{self.text}"

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)
        self._typed_at = time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        """To the program alone, as `kill` does it."""
        self.process.send_signal(number)
        self._typed_at = time.monotonic()

    def end(self) -> tuple[int, float]:
        """Read to the end: the exit status, and seconds since the last key or signal."""
        while self.process.poll() is None:
            self._read(wait=0.01)
        seconds = time.monotonic() - self._typed_at
        while self._read(wait=0.2):
            pass
        return self.process.returncode, seconds

    def session(self) -> list[int]:
        """Processes of the program's session that are alive: itself and all it started."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and is_alive(int(folder.name)):
                try:
                    if os.getsid(int(folder.name)) == self.process.pid:
                        found.append(int(folder.name))
                except ProcessLookupError:
                    continue
        return found

    def _read(self, *, wait: float = 0.5) -> bool:
        """Whether more may come."""
        ready, _, _ = select.select([self._fd], [], [], wait)
        if not ready:
            return self.process.poll() is None
        try:
            more = os.read(self._fd, 65536)
        except OSError:  # Linux's way to tell that the other side is closed
            more = b""
        self.raw += more
        return bool(more)


@contextmanager
def terminal(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    size: tuple[int, int] = SIZE,
) -> Iterator[Terminal]:
    """Run a command on a new terminal. What of its session is left at the end is killed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", _OWN_THE_TERMINAL, *argv],
        cwd=cwd,
        env={"TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = Terminal(process, ours)
        try:
            yield shown
        finally:
            for pid in shown.session():
                os.kill(pid, signal.SIGKILL)
            process.wait()
            os.close(ours)
