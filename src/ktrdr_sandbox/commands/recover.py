"""Recover an instance after its previous command was killed, from the plan in the journal.

What was being made is taken back, unless all of it was done. A destroy that had not touched the
directory yet is called off, one that had is finished. An `up` or `down` is told of, and the stack
left for the next `up` or `down`, which both take it from any state.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ktrdr_sandbox.commands.compose_project import write_slot
from ktrdr_sandbox.commands.context import Context, locked_repository
from ktrdr_sandbox.commands.create import CreatePlan, undo_step
from ktrdr_sandbox.commands.destroy import DestroyPlan, recover_destroy
from ktrdr_sandbox.docker.compose import end_orphans
from ktrdr_sandbox.files import temporary_name
from ktrdr_sandbox.models import ID_PREFIX
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.journal import Pending
from ktrdr_sandbox.state.values import from_json


def recover_locked(context: Context, instance_id: str) -> None:
    """End what is pending on an instance whose lock is held. Raises what ending it raises."""
    pending = journal.load(context.home, instance_id)
    if pending is not None:
        outcome = _end(context, pending)
        name = instance_id.removeprefix(ID_PREFIX)
        context.tell(
            f"An earlier '{pending.operation} {name}' (pid {pending.pid}, {pending.since}) did "
            f"not end: {outcome}"
        )
    # Half-written files whose writer was killed before it could put them in place.
    context.registry.tidy()
    left = list(context.home.state_of(instance_id).glob("*.tmp"))
    entry = context.registered(instance_id)
    if entry is not None:
        left.append(temporary_name(entry.env_file))
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    journal.discard(context.home, instance_id)


def _end(context: Context, pending: Pending) -> str:
    facts = pending.plan if pending.version > 1 else _upgraded(pending)
    match pending.operation:
        case "create" | "init":
            return _end_create(context, from_json(CreatePlan, facts), pending)
        case "destroy":
            return recover_destroy(context, from_json(DestroyPlan, facts), pending.begun)
        case "up":
            end_orphans(str(context.home.state_of(pending.instance_id)))
            return "its containers are as it left them; 'up' goes on with them, 'down' stops them."
        case "down":
            return "'down' stops what it left, 'up' starts it again."
        case "move":
            entry = context.registered(pending.instance_id)
            if entry is not None and entry.env_file.is_file():
                write_slot(entry)
            return "its files tell the slot that the registry has."


def _end_create(context: Context, plan: CreatePlan, pending: Pending) -> str:
    """The registry tells whether all was done: a loss of power may cut off the journal's end."""
    entry = context.registered(pending.instance_id, uuid=plan.instance.uuid)
    if entry is not None and entry.state == "created":
        context.registry.renew_copy(entry)
        return "all of it was done, so it stands."
    with locked_repository(context, plan.common_dir):
        for name in reversed(pending.begun):
            undo_step(context, plan, name)
    return "what it had made was taken back."


def _upgraded(pending: Pending) -> dict[str, Any]:
    """The plan in a journal of version 1, with what recovery needs."""
    facts = dict(pending.plan)
    if pending.operation not in ("create", "init", "destroy"):
        return facts
    made = facts.get("made_by_us", pending.operation == "create")
    instance = {
        "id": facts["instance_id"],
        "uuid": facts["uuid"],
        "path": facts["path"],
        "slot": 0,
        "created_at": "",
        "is_worktree": False,
        "parent_repo": facts["main"],
        "state": "removing" if pending.operation == "destroy" else "creating",
        "created_by": "create" if made else "init",
        "engine": facts.get("engine") or {},
    }
    return facts | {
        "instance": instance,
        "worktree": facts.get("addition"),
        "without_docker": facts.get("engine", {}) is None,
        "directory": facts["path"] if facts.get("deletes") else None,
        "chown_images": facts.get("tools", []),
    }
