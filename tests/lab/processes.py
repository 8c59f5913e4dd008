"""Processes that outlive the lab, known by pid and start time: a reused pid is another process."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    pid: int
    started: int  # clock ticks after boot, /proc/PID/stat field 22
    boot: str

    def runs(self) -> bool:
        return find(self.pid) == self

    def stop(self, *, term_limit: float, kill_limit: float = 10.0) -> bool:
        """TERM, then KILL; whether it ended by itself. Limits in seconds."""
        if self._end(signal.SIGTERM, term_limit):
            return True
        self._end(signal.SIGKILL, kill_limit)
        return False

    def _end(self, how: signal.Signals, limit: float) -> bool:
        if not self.runs():
            return True
        os.kill(self.pid, how)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if not self.runs():
                return True
            time.sleep(0.05)
        return False


def find(pid: int) -> Process | None:
    """The running process with this pid; None for one that has ended, even if nobody reaped it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, started = parse_stat(stat)
    if state in "ZX":
        return None
    return Process(pid=pid, started=started, boot=BOOT_ID.read_text().strip())


def parse_stat(line: str) -> tuple[str, int]:
    """State and start time; the command name in brackets may hold spaces and brackets itself."""
    fields = line.rpartition(")")[2].split()
    return fields[0], int(fields[19])
