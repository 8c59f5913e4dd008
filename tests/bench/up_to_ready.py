"""`ktrdr-sandbox up` to gate passed, against `docker compose up --wait`, on the sample stack.

Alternating runs on one engine: `python -m tests.bench.up_to_ready [--runs N]`. Each run also times
the same command on the stack that is up by then. Needs an engine and the lab's images, or those
that the KTRDR_SANDBOX_DEMO_*_IMAGE variables name. It reports; it never fails by time.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, field

from tests.support.bench_stage import Stage, heading, listed, stage, timed


@dataclass
class Times:
    """Seconds of each run."""

    raw: list[float] = field(default_factory=list)
    raw_again: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    ours_again: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each")
    runs = parser.parse_args().runs
    times = Times()
    with stage() as place:
        for _ in range(runs):
            measure(place, times)
    report(times)


def measure(place: Stage, times: Times) -> None:
    times.raw.append(timed(lambda: place.compose("up", "-d", "--wait")))
    times.raw_again.append(timed(lambda: place.compose("up", "-d")))
    place.compose_down()
    times.ours.append(timed(lambda: place.tool("up")))
    times.ours_again.append(timed(lambda: place.tool("up")))
    place.tool_down()


def report(times: Times) -> None:
    print(heading(f"up to ready, {len(times.raw)} alternating runs"))
    line("docker compose up --wait", times.raw)
    line("ktrdr-sandbox up", times.ours)
    print(f"  ratio of medians {statistics.median(times.ours) / statistics.median(times.raw):.3f}")
    print("on the stack that is up:")
    line("docker compose up -d", times.raw_again)
    line("ktrdr-sandbox up", times.ours_again)


def line(name: str, values: list[float]) -> None:
    print(f"  {name:26} median {statistics.median(values):6.1f} s   {listed(values)}")


if __name__ == "__main__":
    main()
