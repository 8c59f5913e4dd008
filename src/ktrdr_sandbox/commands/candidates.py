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
    """Offer instances by slot; also with their prefix when that is being typed."""
    registered = _registry(Home.from_environment()).instances.values()
    found = sorted(registered, key=lambda instance: instance.slot)
    short = [(instance.name, _about(instance)) for instance in found]
    if not typed or not (typed.startswith(ID_PREFIX) or ID_PREFIX.startswith(typed)):
        return short
    return [*short, *((instance.id, _about(instance)) for instance in found)]


def _about(instance: Instance) -> str:
    if instance.state != "created":
        return f"slot {instance.slot}, {instance.state}"
    return f"slot {instance.slot}{'' if instance.path.is_dir() else ', directory gone'}"


def services(name: str | None) -> list[Candidate]:
    """Offer what the last `up` of the instance recorded. Raises OSError and ValueError."""
    home = Home.from_environment()
    marker = None if name else env_file.find(Path.cwd())
    here = env_file.read(marker).get("INSTANCE_ID", "") if marker else ""
    instance = _registry(home).instances.get(instance_id(name) if name else here)
    if instance is None:
        return []
    # Read here and not by `state.last_up`, which costs more to import than the file to read.
    record = json.loads((home.state_of(instance.id) / "stack.json").read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("uuid") != instance.uuid:
        return []
    return [(str(service), "") for service in record.get("services", ())]


def free_slots() -> list[Candidate]:
    """Offer slots that no instance has. Ports are looked at only when one is taken."""
    taken = _registry(Home.from_environment()).taken_slots()
    return [(str(slot), "") for slot in range(FIRST_SLOT, LAST_SLOT + 1) if slot not in taken]


def branches() -> list[Candidate]:
    """Offer branches of the repository around, then those that only a remote has."""
    from ktrdr_sandbox.git.repository import list_branches  # the other candidates need no git

    found = []
    for branch in list_branches(Path.cwd()):
        about = f"only on {branch.remote}" if branch.remote else "local branch"
        if branch.checked_out_at:
            about = f"already checked out in {branch.checked_out_at}"
        found.append((branch.name, about))
    return found
