"""What all timings share: how a command is timed, medians, ratios, and how they are told.

Everything reports; nothing fails by time. What is compared is run in turn, so that both see the
same load of the machine, and the ratio of the medians says more than either of them.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def run(argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
    """Run a command to its end, unseen. The script ends, and shows it all, when it fails."""
    done = subprocess.run(
        argv, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode:
        shown = (done.stdout + done.stderr).decode("utf-8", "replace")
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}\n{shown}")


def compiled(folder: Path) -> dict[str, str]:
    """This environment, with bytecode kept in a folder: so start programs that are installed,
    whatever this shell says."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder)}


def program() -> list[str]:
    """The command as its users start it: the console script, where it is installed."""
    script = Path(sysconfig.get_path("scripts")) / "ktrdr-sandbox"
    return [str(script)] if script.exists() else [sys.executable, "-m", "ktrdr_sandbox"]


@dataclass
class Pair:
    """Seconds of alternating runs: of this program, and of what it is measured against."""

    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return len(self.ours)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.raw)


def alternate(
    runs: int, *, ours: Callable[[], object], raw: Callable[[], object], after: Callable[[], object]
) -> Pair:
    """Each once unseen, then both in turn. `after` puts things back, and is not timed."""
    pair = Pair()
    for number in range(runs + 1):
        seconds = timed(raw), timed(ours)
        after()
        if number:
            pair.raw.append(seconds[0])
            pair.ours.append(seconds[1])
    return pair


def machine() -> str:
    """The machine in a few words, and how busy it is."""
    release = ".".join(platform.release().split(".")[:2])
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.system()} {release}, load {load:.1f}"


def heading(what: str) -> str:
    return f"{what}; {machine()}"


def listed(values: Sequence[float], *, digits: int = 1) -> str:
    return "(" + ", ".join(f"{value:.{digits}f}" for value in values) + ")"


def line(name: str, values: Sequence[float], *, digits: int = 1) -> str:
    """A name, the median of its seconds, and all of them."""
    median = f"{statistics.median(values):7.{digits}f}"
    return f"  {name:26} median {median} s   {listed(values, digits=digits)}"


def seconds(value: float) -> str:
    """As a table has it: milliseconds below one second."""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"
