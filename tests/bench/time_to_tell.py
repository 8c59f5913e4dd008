"""How long `ktrdr-sandbox up` takes to tell of what can no longer come true.

`python -m tests.bench.time_to_tell [--runs N] [NAME ...]`: every fault of the end-to-end tests,
made for real in a stack of three services. Told are the seconds of the gate, from the first start
to the report, and where a container has ended for good, those from its end. It reports; it never
fails by time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.harness import heading, listed
from tests.bench.ready_lag import moment
from tests.e2e.test_faults import FAULTS, LIMIT, Fault, told
from tests.support.stacks import Sandbox, Stack, git, sandbox, token


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="times that each is made")
    parser.add_argument("names", nargs="*", help="only these faults")
    options = parser.parse_args()
    names = options.names or list(FAULTS)
    with (
        tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as folder,
        sandbox(Path(folder) / "place") as place,
    ):
        place.make_repository(light=True)
        stack = place.create(f"bench-{token()}")
        place.up(stack, "--no-wait").expect(0)  # builds its image
        print(heading(f"time to tell, {options.runs} runs each"), flush=True)
        for name in names:
            measure(place, stack, name, options.runs)


def measure(place: Sandbox, stack: Stack, name: str, runs: int) -> None:
    gate, since_end = [], []
    for _ in range(runs):
        seconds, lag = once(place, stack, FAULTS[name])
        gate.append(seconds)
        since_end += [lag] if lag is not None else []
    line = f"  {name:34} gate {statistics.median(gate):5.1f} s {listed(gate)}"
    if since_end:
        line += f", {statistics.median(since_end):.1f} s {listed(since_end)} after its end"
    print(line, flush=True)


def once(place: Sandbox, stack: Stack, fault: Fault) -> tuple[float, float | None]:
    """Seconds of the gate, and from the end of the container to blame to the report."""
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=stack.path)
    fault.make(stack)
    outcome = place.up(stack, "--timeout", f"{LIMIT:g}").expect(2)
    at = time.time()
    check = told(outcome, fault.check)
    state = stack.container(check["services"][0])["State"]
    ended = moment(state["FinishedAt"]) if state["Status"] == "exited" else None
    return outcome.data["gate"]["seconds"], None if ended is None else at - ended


if __name__ == "__main__":
    main()
