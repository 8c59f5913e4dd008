"""What could be meant: instances, services, slots and branches, each with a few words about it.

Somebody waits for a key to answer, so nothing is changed or repaired here, nothing is told, and no
engine is asked.
"""

from __future__ import annotations

import json
from pathlib import Path

from ktrdr_sandbox import env_file
from ktrdr_sandbox.models import FIRST_SLOT, ID_PREFIX, LAST_SLOT, Instance
from ktrdr_sandbox.naming import instance_id
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state.registry import Registry, RegistryStore

Candidate = tuple[str, str]


def _registry(home: Home) -> Registry:
    """What is registered; empty when the file cannot be read."""
    return RegistryStore(home.registry, home.registry_lock).peek()


def instances(typed: str) -> list[Candidate]:
    """Instances by slot; also with their prefix when that is being typed."""
    registered = _registry(Home.from_environment()).instances.values()
    found = sorted(registered, key=lambda instance: instance.slot)
    short = [(instance.name, _about(instance)) for instance in found]
    if not typed or not (typed.startswith(ID_PREFIX) or ID_PREFIX.startswith(typed)):
        return short
    return [*short, *((instance.id, _about(instance)) for instance in found)]


def _about(instance: Instance) -> str:
    state = "" if instance.state == "created" else f", {instance.state}"
    if not state and not instance.path.is_dir():
        state = ", directory gone"
    return f"slot {instance.slot}{state}"


def services(cwd: Path, name: str | None) -> list[Candidate]:
    """Services that the last `up` of the instance recorded. Raises OSError and ValueError."""
    home = Home.from_environment()
    marker = None if name else env_file.find(cwd)
    if name:
        identity = instance_id(name)
    else:
        identity = env_file.read(marker).get("INSTANCE_ID", "") if marker else ""
    instance = _registry(home).instances.get(identity)
    if instance is None:
        return []
    # Read here and not by `state.last_up`, which costs more to import than the file to read.
    record = json.loads((home.state_of(instance.id) / "stack.json").read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("uuid") != instance.uuid:
        return []
    return [(str(service), "") for service in record.get("services", ())]


def free_slots() -> list[Candidate]:
    """Slots that no instance has. Their ports are looked at only when one is taken."""
    taken = _registry(Home.from_environment()).taken_slots()
    return [(str(slot), "") for slot in range(FIRST_SLOT, LAST_SLOT + 1) if slot not in taken]


def branches(cwd: Path) -> list[Candidate]:
    """Branches of the repository around, then those that only a remote has."""
    from ktrdr_sandbox.git.repository import list_branches  # the other candidates need no git

    return [
        (branch.name, _about_branch(branch.checked_out_at, branch.remote))
        for branch in list_branches(cwd)
    ]


def _about_branch(path: str, remote: str) -> str:
    if path:
        return f"already checked out in {path}"
    return f"only on {remote}" if remote else "local branch"
