"""What a stack costs while nobody uses it: started by `ktrdr-sandbox up` and by plain Compose.

`python -m tests.bench.idle_cpu [--runs N] [--seconds S]`: both stacks from the same files, each
alone on the engine while it is watched, in turn. The CPU time is what the engine counts for each
container, health checks included; that of the engine itself is read from its processes where they
can be seen. It reports; it never fails by what it finds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import psutil

from tests.bench.harness import heading
from tests.support.bench_stage import stage
from tests.support.stacks import containers, docker

SETTLING = 75.0
"""Seconds after the start before it is watched: the last 30 s health check has passed by then."""

ENGINE = ("dockerd", "containerd", "containerd-shim-runc-v2")


@dataclass
class Costs:
    """CPU seconds in a second, one for each time that a stack was watched."""

    stack: list[float]
    engine: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="times that each is watched")
    parser.add_argument("--seconds", type=float, default=120.0, help="for how long each time")
    options = parser.parse_args()
    raw, ours = Costs([], []), Costs([], [])
    with stage() as place:
        for _ in range(options.runs):
            place.compose("up", "-d", "--wait")
            watch(place.project, options.seconds, raw)
            place.compose_down()
            place.tool("up")
            watch(place.instance_id, options.seconds, ours)
            place.tool_down()
    report(raw, ours, options.seconds)


def watch(project: str, seconds: float, costs: Costs) -> None:
    time.sleep(SETTLING)
    ids = [one["Id"] for one in containers(f"label=com.docker.compose.project={project}")]
    began, stack, engine = time.monotonic(), used(ids), engine_used()
    time.sleep(seconds)
    passed = time.monotonic() - began
    costs.stack.append((used(ids) - stack) / passed)
    costs.engine.append((engine_used() - engine) / passed)


def used(ids: Sequence[str]) -> float:
    """CPU seconds of these containers since their start, as the engine counts them."""
    host = json.loads(docker("context", "inspect"))[0]["Endpoints"]["docker"]["Host"]
    transport = httpx.HTTPTransport(uds=host.removeprefix("unix://"))
    with httpx.Client(transport=transport, base_url="http://docker", timeout=30) as client:
        found = [
            client.get(f"/containers/{one}/stats", params={"stream": "0", "one-shot": "1"}).json()
            for one in ids
        ]
    return sum(float(one["cpu_stats"]["cpu_usage"]["total_usage"]) for one in found) / 1e9


def engine_used() -> float:
    """CPU seconds of the engine's own processes, those that have ended left out."""
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if process.info["name"] in ENGINE and times is not None:
            total += times.user + times.system + times.children_user + times.children_system
    return total


def report(raw: Costs, ours: Costs, seconds: float) -> None:
    print(heading(f"idle CPU of a stack, {len(raw.stack)} times {seconds:.0f} s each"))
    for what, plain, own in (
        ("containers", raw.stack, ours.stack),
        ("engine", raw.engine, ours.engine),
    ):
        print(
            f"  {what:10} docker compose up {shown(plain)}   ktrdr-sandbox up {shown(own)}"
            f"   {100 * (statistics.median(own) / statistics.median(plain) - 1):+.1f} %"
        )


def shown(values: Sequence[float]) -> str:
    each = ", ".join(f"{100 * value:.2f}" for value in values)
    return f"{100 * statistics.median(values):.2f} % of a core ({each})"


if __name__ == "__main__":
    main()
