"""How long after Ctrl-C during `ktrdr-sandbox up` the prompt is back.

`python -m tests.bench.prompt_back [--runs N]`: so many interrupts at each of several moments of a
start, on a terminal. It reports; it never fails by time.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench.harness import heading, line
from tests.e2e.test_interrupt import HANGS, MOMENTS
from tests.support.stacks import Sandbox, Stack, sandbox, token
from tests.support.terminal import CONTROL_C, terminal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="interrupts at each moment")
    runs = parser.parse_args().runs
    with (
        tempfile.TemporaryDirectory(prefix="ktrdr-bench-") as folder,
        sandbox(Path(folder) / "place") as place,
    ):
        place.make_repository(light=True)
        stack = place.create(f"bench-{token()}")
        place.up(stack, "--no-wait").expect(0)  # builds its image
        (stack.path / "config" / "sample.toml").write_text(HANGS, encoding="utf-8")
        print(heading(f"Ctrl-C to prompt, {runs} runs each"), flush=True)
        for moment, pattern in MOMENTS.items():
            seconds = [interrupted(place, stack, pattern) for _ in range(runs)]
            print(line(moment, seconds, digits=2), flush=True)


def interrupted(place: Sandbox, stack: Stack, pattern: str) -> float:
    """Seconds from the key to the end of the program. The script ends when that went wrong."""
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    argv = [*place.program, "up", stack.name, "--verbose"]
    with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
        screen.until(pattern)
        screen.type(CONTROL_C)
        code, seconds = screen.end()
        if code != 130:
            raise SystemExit(screen.text)
    return seconds


if __name__ == "__main__":
    main()
