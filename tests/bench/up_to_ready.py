"""`ktrdr-sandbox up` to gate passed, against `docker compose up --wait`, on the sample stack.

Alternating runs on one engine: `python tests/bench/up_to_ready.py [--runs N]`. Needs an engine and
the images named by the KTRDR_SANDBOX_DEMO_*_IMAGE settings. It reports; it never fails by time.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ktrdr_sandbox.lifecycle.demonstration import sample_images
from ktrdr_sandbox.lifecycle.sample import make_repository
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import load_settings

WRITABLE = ("data", "logs", "models", "output", "research_agents", "training_analytics")
TAG = "ktrdr-backend:dev"
"""The sample's image tag, made by this script unless it was there before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="alternating runs of each")
    runs = parser.parse_args().runs
    scratch = Path(tempfile.mkdtemp(prefix="ktrdr-bench-"))
    try:
        raw, ours = measure(scratch, runs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report(raw, ours)


def measure(scratch: Path, runs: int) -> tuple[list[float], list[float]]:
    """Seconds of each run: raw Compose, then ours. Stacks are removed after each run."""
    home = Home.from_environment()
    repository = scratch / "ktrdr"
    images = sample_images(load_settings(home, checkout=None))
    make_repository(repository, images=images, branches=())
    environment = {**os.environ, "KTRDR_HOME": str(scratch / "home")}
    project = f"bench-{uuid.uuid4().hex[:8]}"
    plain = ["docker", "compose", "-p", project]
    tool = [sys.executable, "-m", "ktrdr_sandbox"]
    prepare(repository)
    had_image = subprocess.run(["docker", "image", "inspect", TAG], capture_output=True).returncode
    call([*plain, "build", "-q"], repository, os.environ)
    call([*tool, "create", project], repository, environment)
    instance = scratch / f"ktrdr--{project}"
    raw, ours = [], []
    try:
        for _ in range(runs):
            raw.append(timed(lambda: call([*plain, "up", "-d", "--wait"], repository, os.environ)))
            call([*plain, "down", "-v", "--timeout", "0"], repository, os.environ)
            ours.append(timed(lambda: call([*tool, "up"], instance, environment)))
            call([*tool, "down", "--volumes", "--now"], instance, environment)
    finally:
        call([*plain, "down", "-v", "--timeout", "0"], repository, os.environ)
        call([*tool, "destroy", "--yes", "--force", project], repository, environment)
        if had_image != 0:
            call(["docker", "image", "rm", TAG], repository, os.environ)
    return raw, ours


def prepare(repository: Path) -> None:
    """Folders that the engine would create as root, on which the backend crash-loops."""
    for name in WRITABLE:
        (repository / name).mkdir(exist_ok=True)
        (repository / name).chmod(0o777)


def call(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(argv, cwd=cwd, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")


def timed(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def report(raw: Sequence[float], ours: Sequence[float]) -> None:
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    print(f"up to ready, {len(raw)} alternating runs, {machine}")
    for name, values in (("docker compose up --wait", raw), ("ktrdr-sandbox up", ours)):
        shown = ", ".join(f"{value:.1f}" for value in values)
        print(f"  {name:26} median {statistics.median(values):6.1f} s   ({shown})")
    print(f"  ratio of medians {statistics.median(ours) / statistics.median(raw):.3f}")


if __name__ == "__main__":
    main()
