"""`ktrdr-sandbox init-shared --from` against `cp -a`: 20,000 small files and 1 GiB of large ones.

    python -m tests.bench.init_shared [--runs N] [--folder DIR]

Alternating runs, each into a folder of its own, for a file system may take much longer to create
files where it has just removed as many: leave some minutes between two measurements. Printed are
medians, their ratio, and the peak of memory of the largest process.
The limits are a ratio of 1.3, of 0.5 for a run with nothing to do, and 100 MB; they are
reported, not enforced. The folder needs room for N + 1 times 2.4 GB.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.harness import compiled, heading

SMALL, FOLDERS = 20_000, 50
LARGE, LARGE_SIZE = 8, 128 * 1024 * 1024


class Run(NamedTuple):
    """Wall clock, processor seconds of all processes, and the largest one's memory in MB."""

    wall: float
    processor: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each")
    parser.add_argument("--folder", type=Path, help="where to copy, for example on another disk")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="ktrdr-bench-", dir=given.folder))
    try:
        report(*measure(scratch, given.runs))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def measure(scratch: Path, runs: int) -> tuple[list[Run], list[Run], list[Run]]:
    """Runs of `cp -a`, of the first init-shared, and of the one after it."""
    source = scratch / "source"
    make_source(source)
    plain, first, again = [], [], []
    tool = [sys.executable, "-m", "ktrdr_sandbox", "init-shared", "--from", str(source)]
    environment = compiled(scratch / "bytecode")
    once([*tool[:3], "--version"], environment)
    once(["cp", "-a", str(source), str(scratch / "warm-up")], environment)
    for number in range(runs):
        home = {**environment, "KTRDR_HOME": str(scratch / f"home-{number}")}
        plain.append(once(["cp", "-a", str(source), str(scratch / f"copy-{number}")], environment))
        first.append(once(tool, home))
        again.append(once(tool, home))
    return plain, first, again


def make_source(root: Path) -> None:
    """A checkout's three folders: price data, models, strategies."""
    chance = random.Random(20_000)
    for number in range(FOLDERS):
        folder = root / ("models" if number % 5 == 0 else "data") / f"part-{number:02}"
        folder.mkdir(parents=True)
        for place in range(SMALL // FOLDERS):
            content = chance.randbytes(chance.randint(200, 8000))
            (folder / f"SYM{place:04}_1d.csv").write_bytes(content)
    (root / "strategies").mkdir()
    block = chance.randbytes(1024 * 1024)
    for number in range(LARGE):
        with (root / "models" / f"weights-{number}.bin").open("wb") as file:
            for _ in range(LARGE_SIZE // len(block)):
                file.write(block)


def once(argv: Sequence[str], environment: Mapping[str, str]) -> Run:
    """One run, begun when the disk has nothing left to write of those before."""
    os.sync()
    began = time.monotonic()
    process = subprocess.Popen(argv, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    if process.returncode:
        sys.exit(f"{' '.join(argv)} ended with {process.returncode}")
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale)


def report(plain: list[Run], first: list[Run], again: list[Run]) -> None:
    print(heading(f"{SMALL:,} small files and 1 GiB, {len(plain)} alternating runs"))
    rows = {"cp -a": plain, "init-shared": first, "init-shared again": again}
    for name, runs in rows.items():
        shown = ", ".join(f"{run.wall:.2f}" for run in runs)
        processor = statistics.median(run.processor for run in runs)
        print(
            f"  {name:18} median {wall(runs):6.2f} s   processor {processor:5.2f} s   "
            f"memory {max(run.memory for run in runs):4.0f} MB   ({shown})"
        )
    print(f"  ratio        {wall(first) / wall(plain):.3f}   limit 1.3")
    print(f"  ratio again  {wall(again) / wall(plain):.3f}   limit 0.5")


def wall(runs: list[Run]) -> float:
    return statistics.median(run.wall for run in runs)


if __name__ == "__main__":
    main()
