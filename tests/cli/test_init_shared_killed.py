"""init-shared killed at any moment: nothing torn is ever seen, and the next run completes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.packs import file as member
from tests.support.packs import tar, written
from tests.support.trees import TIME_NS, kinds_of, write
from tests.support.world import World

KILLS = 20
NAMES = {
    **{f"data/{number % 7}/S{number:03}_1d.csv": 500 + 37 * number for number in range(400)},
    "models/large.bin": 20_000_000,
    "models/larger.bin": 26_000_000,
}
"""Sizes by path, of every version."""


def content(name: str, version: int) -> bytes:
    """What a file holds in one version: all of it says so, so that a mixture shows."""
    text = f"{version:03}|{name}|".encode()
    size = NAMES[name]
    return (text * (size // len(text) + 1))[:size]


def write_version(source: Path, version: int) -> None:
    """The whole source in another version: same names and sizes, later times."""
    for name in NAMES:
        write(source / name, content(name, version), time_ns=TIME_NS + version * 10**9)


def torn(shared: Path) -> list[str]:
    """Files that are not wholly of one version, and names that nobody gave."""
    found = []
    for kind in ("data", "models", "strategies"):
        for path in (shared / kind).rglob("*"):
            if not path.is_file():
                continue
            name = str(path.relative_to(shared))
            seen = path.read_bytes()
            version = seen[:3].decode(errors="replace")
            whole = name in NAMES and version.isdecimal() and seen == content(name, int(version))
            if not whole:
                found.append(name)
    return found


def begun(world: World, source: Path) -> tuple[subprocess.Popen[bytes], float]:
    """A run, and when it began to place files."""
    staging = world.home / "shared" / ".init-shared"
    leftover = staging.stat().st_mtime_ns if staging.exists() else None
    process = subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "init-shared", "--from", str(source)],
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None:
        try:
            if staging.stat().st_mtime_ns != leftover:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.001)
    return process, time.monotonic()


@pytest.fixture
def chance() -> random.Random:
    """Another sequence each time, told when the test fails."""
    seed = random.randrange(10**9)
    print(f"seed of the moments: {seed}")
    return random.Random(seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_killed_at_random_moments(world: World, chance: random.Random, kind: str) -> None:
    """Each time the source has another version: files are new, replaced, and both at once."""
    source, shared = world.folder / "source", world.home / "shared"
    archive = world.folder / "pack.tar"
    kills = KILLS if kind == "folder" else 10
    killed, longest = 0, 0.2
    for version in range(kills):
        write_version(source, version)
        given = source
        if kind == "archive":
            given = packed(source, archive)
        process, start = begun(world, given)
        with process:
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.wait()
            _, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        killed += process.returncode != 0
        longest = max(longest, (time.monotonic() - start) if process.returncode == 0 else 0)
        assert torn(shared) == [], f"after kill {version}"
        if version % 10 == 9:  # somebody removes some, and they have to come again
            for name in chance.sample(sorted(NAMES), 40):
                (shared / name).unlink(missing_ok=True)
    assert killed > kills // 5, "most runs ended before they were killed: this proves nothing"
    outcome = world.run("init-shared", "--from", str(given), "--json")
    assert outcome.data["kept"] == [], "what a killed run placed is not taken for the user's"
    assert kinds_of(shared) == kinds_of(source)
    assert not (shared / ".init-shared").exists()
    again = world.run("init-shared", "--from", str(given), "--json")
    assert again.data["unchanged"] == len(NAMES)


def packed(source: Path, archive: Path) -> Path:
    """The source as an archive, with its exact times."""
    members = []
    for name in NAMES:
        path = source / name
        info, data = member(name, path.read_bytes())
        exact = path.stat().st_mtime_ns
        info.pax_headers = {"mtime": f"{exact // 10**9}.{exact % 10**9:09}"}
        members.append((info, data))
    return written(archive.parent, tar(members), archive.name)
