"""How long after the last condition has come true the gate says PASSED.

`python -m tests.bench.ready_lag [--runs N]`: so many starts of the sample stack seen by `up`, and
as many by a `wait` that began before the first container. The sample's backend logs when it,
its database and its workers had become ready; the last container's start is asked of the engine.
The later of the two is the last condition. It reports; it never fails by time.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.bench.harness import heading
from tests.support.bench_stage import Stage, stage
from tests.support.http import eventually
from tests.support.stacks import containers, docker_logs

READY = re.compile(r"ready: \w+ last, at \S+ \((\d+\.\d+)\)")
SERVICE = "com.docker.compose.service"


@dataclass(frozen=True)
class Seen:
    """One start: seconds from the last condition to the pass, and the check that came last."""

    lag: float
    last: str

    @property
    def counts(self) -> bool:
        """Nobody wrote down when Grafana, Prometheus and Jaeger became ready."""
        return self.last != "observability"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="starts seen by each command")
    runs = parser.parse_args().runs
    with stage() as place:
        place.tool("up")
        place.tool_down()
        by_up = [seen_by_up(place) for _ in range(runs)]
        by_wait = [seen_by_wait(place) for _ in range(runs)]
    print(heading(f"last condition to PASSED, {runs} starts each"))
    report("up", by_up)
    report("wait, begun early", by_wait)


def report(name: str, starts: Sequence[Seen]) -> None:
    lags = [seen.lag for seen in starts if seen.counts]
    shown = ", ".join(f"{1000 * seen.lag:.0f} {seen.last}" for seen in starts if seen.counts)
    left_out = len(starts) - len(lags)
    print(
        f"  {name:18} median {1000 * statistics.median(lags):4.0f} ms, "
        f"longest {1000 * max(lags):4.0f} ms   ({shown})"
        + (f", {left_out} left out: observability last" if left_out else "")
    )


def seen_by_up(place: Stage) -> Seen:
    return seen(place, *told(place, "up"))


def seen_by_wait(place: Stage) -> Seen:
    holder = place.repository.parent / "home" / "sandbox" / "locks" / f"{place.instance_id}.holder"
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(place.tool, "up", "--no-wait")
        eventually(holder.exists)
        at, document = told(place, "wait")
        starting.result()
    return seen(place, at, document)


def told(place: Stage, command: str) -> tuple[float, Any]:
    """The time of day at which the command told its result, and the result."""
    with subprocess.Popen(
        [*place.program, command, "--json"],
        cwd=place.instance,
        env=dict(place.environment),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        at = time.time()
    document = json.loads(line)
    if not document["ok"]:
        raise SystemExit(f"{command} did not pass: {line}")
    return at, document["data"]["gate"]


def seen(place: Stage, at: float, gate: Any) -> Seen:
    """Asks the engine and the sample's log for the last condition, and takes the stack down."""
    found = containers(f"label=com.docker.compose.project={place.instance_id}")
    started = [moment(one["State"]["StartedAt"]) for one in found]
    (backend,) = [one["Id"] for one in found if one["Config"]["Labels"][SERVICE] == "backend"]
    ready = READY.findall("\n".join(docker_logs(backend)))
    place.tool_down()
    last = max(gate["checks"], key=lambda check: check["seconds"])["name"]
    return Seen(lag=at - max(*started, float(ready[-1])), last=last)


def moment(stamp: str) -> float:
    """Seconds since the epoch of the engine's time, which has nanoseconds."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


if __name__ == "__main__":
    main()
