"""Docker, Compose, git, disk and settings: what every command needs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktrdr_sandbox.engine.compose import require_compose
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.doctor.findings import Finding, note, ok, problem
from ktrdr_sandbox.lifecycle.doctor.surroundings import Surroundings
from ktrdr_sandbox.worktrees.git import git

OLDEST_GIT: Final = (2, 36)
"""First git whose `worktree list` has `-z` (its release notes)."""

GIB: Final = 1024**3
LOW: Final = 10 * GIB
"""Bytes free below which it is worth a note: a few stacks' databases and images."""
EMPTY: Final = GIB


def docker(around: Surroundings) -> Iterator[Finding]:
    here = around.engines.here
    for address, error in around.engines.silent.items():
        hint = error.hints[0] if error.hints else "docker info"
        yield problem("docker", error.message, fix=hint)
        if address == here:
            return
    try:
        versions = around.place.engine(here).versions()
        yield ok("docker", f"Engine {versions.engine} at {here.label}, client {versions.client}")
        require_compose(versions)
        yield ok("compose", f"Docker Compose {versions.compose}")
    except SandboxError as error:
        check = "compose" if "compose" in error.code else "docker"
        yield problem(check, error.message, fix=error.hints[0] if error.hints else "docker info")


def git_version(_around: Surroundings) -> Iterator[Finding]:
    try:
        text = git(["--version"], cwd=Path("/")).strip()
    except SandboxError as error:
        yield problem("git", error.message, fix=error.hints[0] if error.hints else "install git")
        return
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if numbers < OLDEST_GIT:
        wanted = ".".join(str(part) for part in OLDEST_GIT)
        yield problem("git", f"{text} is too old: {wanted} is needed", fix="upgrade git")
        return
    yield ok("git", text)


def disk(around: Surroundings) -> Iterator[Finding]:
    """Free space where instances, their worktrees and the engine's data lie."""
    places = [around.place.home.root, *(one.path.parent for one in around.instances)]
    places.append(Path("/var/lib/docker"))  # the engine's default, where it is on this machine
    seen: set[int] = set()
    for place in places:
        there = next((p for p in (place, *place.parents) if p.exists()), Path("/"))
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        text = f"{free / GIB:.1f} GiB free at {there}"
        if free < EMPTY:
            yield problem("disk", text, fix="ktrdr-sandbox gc; docker system df")
        elif free < LOW:
            yield note("disk", text, fix="ktrdr-sandbox gc; docker system df")
        else:
            yield ok("disk", text)


def networks(around: Surroundings) -> Iterator[Finding]:
    """Docker's built-in pools hold about thirty networks; unused ones take their place too."""
    here = around.engines.belongings.get(around.engines.here)
    if here is None:
        return
    count = sum(1 for one in here if one.kind == "network")
    if count < 20:
        yield ok("networks", f"{count} networks on the engine")
        return
    unused = around.place.engine(around.engines.here).unused_networks()
    names = f": {' '.join(unused)}" if unused else ""
    yield note(
        "networks",
        f"{count} networks on the engine; its address pools hold about 30. "
        f"{len(unused)} are used by no container{names}",
        fix="docker network rm NAME, or the setting network_pool",
    )


def settings(around: Surroundings) -> Iterator[Finding]:
    checkouts = [None, *(one.path for one in around.instances if one.path.is_dir())]
    told: set[str] = set()
    for checkout in checkouts:
        try:
            around.place.settings(checkout)
        except SandboxError as error:
            if error.message not in told:
                told.add(error.message)
                fix = error.hints[0] if error.hints else "correct the setting"
                yield problem("settings", error.message, fix=fix)
    if not told:
        yield ok("settings", "the settings are valid")
