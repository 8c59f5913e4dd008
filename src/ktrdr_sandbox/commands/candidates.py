"""What could be meant: instances, services, slots and branches, for completion.

Somebody waits for a key to answer. So nothing here changes or repairs anything, nothing is told,
what cannot be read at once is not offered, and no import is heavy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ID_PREFIX, EngineAddress, Instance
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state.registry import RegistryStore
from ktrdr_sandbox.state.registry_file import Registry

DOCKER_PATIENCE: Final = 0.5
"""Seconds that all engines together may take to say what runs."""

STACK_RECORD: Final = "stack.json"
"""Written by `record.save`; that module costs more to import than the file takes to read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word that fits, and a few words about it."""

    value: str
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where and how a question is asked. `described`: the shell shows descriptions now."""

    home: Home
    cwd: Path
    environment: Mapping[str, str]
    described: bool

    def registry(self) -> Registry:
        """What is registered; empty when the file cannot be read."""
        return RegistryStore(self.home.registry, self.home.registry_lock).peek()


def instances(around: Surroundings, typed: str) -> list[Candidate]:
    """Instances by slot, with slot and state; with their prefix when that is being typed."""
    registered = sorted(around.registry().instances.values(), key=lambda one: one.slot)
    running = _running(around, registered) if around.described else {}
    found = [(one, _about(one, running.get(one.engine))) for one in registered]
    short = [Candidate(one.name, about) for one, about in found]
    if not typed or not (typed.startswith(ID_PREFIX) or ID_PREFIX.startswith(typed)):
        return short
    return [*short, *(Candidate(one.id, about) for one, about in found)]


def _about(instance: Instance, running: frozenset[str] | None) -> str:
    return f"slot {instance.slot}{_state(instance, running)}"


def _state(instance: Instance, running: frozenset[str] | None) -> str:
    if instance.state != "created":
        return f", {instance.state}"
    if not instance.path.is_dir():
        return ", directory gone"
    if running is None:
        return ""
    return ", running" if instance.uuid in running else ", stopped"


def _running(
    around: Surroundings, registered: Iterable[Instance]
) -> dict[EngineAddress, frozenset[str]]:
    """Uuids of which a container runs, of each engine that answers at once."""
    from ktrdr_sandbox.docker.running import running_uuids

    addresses = list(dict.fromkeys(one.engine for one in registered))
    return running_uuids(addresses, around.environment, patience=DOCKER_PATIENCE)


def services(around: Surroundings, name: str | None) -> list[Candidate]:
    """Services that the last `up` of the instance recorded."""
    instance = _meant(around, name)
    if instance is None:
        return []
    try:
        text = (around.home.state_of(instance.id) / STACK_RECORD).read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError):
        return []
    if not isinstance(document, dict) or document.get("uuid") != instance.uuid:
        return []
    found = document.get("services")
    return [Candidate(str(one)) for one in found] if isinstance(found, list) else []


def _meant(around: Surroundings, name: str | None) -> Instance | None:
    from ktrdr_sandbox import env_file
    from ktrdr_sandbox.naming import instance_id

    known = around.registry().instances
    try:
        if name:
            return known.get(instance_id(name))
        marker = env_file.find(around.cwd)
        return None if marker is None else known.get(env_file.read(marker).get("INSTANCE_ID", ""))
    except (SandboxError, OSError):
        return None


def free_slots(around: Surroundings, first: int, last: int) -> list[Candidate]:
    """Slots that no instance has. Their ports are looked at only when one is taken."""
    taken = around.registry().taken_slots()
    return [Candidate(str(slot)) for slot in range(first, last + 1) if slot not in taken]


def branches(around: Surroundings) -> list[Candidate]:
    """Branches of the repository around, then those that only a remote has."""
    from ktrdr_sandbox.git.repository import list_branches

    return [
        Candidate(branch.name, _about_branch(branch.checked_out_at, branch.remote))
        for branch in list_branches(around.cwd)
    ]


def _about_branch(path: str, remote: str) -> str:
    if path:
        return f"already checked out in {path}"
    return f"only on {remote}" if remote else "local branch"
