"""KTRDR_HOME: whether it can be used, and what lies about in it."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ktrdr_sandbox.durable import private_mode
from ktrdr_sandbox.lifecycle import journal
from ktrdr_sandbox.lifecycle.deletion import trashed
from ktrdr_sandbox.lifecycle.doctor.findings import Finding, note, ok, problem
from ktrdr_sandbox.lifecycle.doctor.surroundings import Surroundings
from ktrdr_sandbox.lifecycle.recovery import is_busy, settle
from ktrdr_sandbox.models import ID_PREFIX


def permissions(around: Surroundings) -> Iterator[Finding]:
    home = around.place.home
    there = next((p for p in (home.sandbox, *home.sandbox.parents) if p.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"sudo chown -R {os.getuid()}:{os.getgid()} '{home.root}', or set KTRDR_HOME"
        yield problem("home", f"{there} cannot be written by this user", fix=fix)
        return
    yield ok("home", f"{home.root} can be written")
    secret = [home.registry, *(one.env_file for one in around.instances)]
    for path in secret:
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0
        wanted = private_mode(home.sandbox) if path == home.registry else 0o600
        if mode & 0o777 & ~wanted:
            yield problem(
                "permissions",
                f"{path} can be read by others (mode {mode:03o})",
                fix=f"chmod {wanted:o} '{path}'",
                repair=functools.partial(path.chmod, wanted),
            )


def registry(around: Surroundings) -> Iterator[Finding]:
    error = around.registry_error
    if error is not None:
        fix = error.hints[0] if error.hints else "see the message"
        yield problem("registry", error.message, fix=fix)
        return
    count = len(around.instances)
    yield ok("registry", f"{count} {'instance' if count == 1 else 'instances'} registered")
    for path in sorted(around.place.home.sandbox.glob("instances.json.damaged-*")):
        yield note("registry", f"{path} is a damaged registry that was set aside", fix="remove it")


def pending(around: Surroundings) -> Iterator[Finding]:
    """Commands that were killed. Those that run are none."""
    place = around.place
    for one in journal.pending(place.home):
        name = one.instance_id.removeprefix(ID_PREFIX)
        what = f"'{one.operation} {name}' (pid {one.pid}, since {one.since})"
        if is_busy(place, one.instance_id):
            yield note("journal", f"{what} is under way", instance=one.instance_id)
            continue
        yield problem(
            "journal",
            f"{what} was killed at {one.last_step}; the next command on {name} ends it",
            fix="ktrdr-sandbox doctor --fix",
            instance=one.instance_id,
            repair=functools.partial(_settle, around, one.instance_id),
        )


def _settle(around: Surroundings, instance_id: str) -> None:
    settle(around.place, instance_id)


def trash(around: Surroundings) -> Iterator[Finding]:
    found = trashed(around.place.home)
    if found:
        oldest = max(one.age_days for one in found)
        yield note(
            "trash",
            f"{len(found)} in {around.place.home.trash}, the oldest {oldest:.0f} days old",
            fix="ktrdr-sandbox gc",
        )
