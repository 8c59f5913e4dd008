"""Results as JSON-ready values. Names here are part of the output's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ktrdr_sandbox.console.sharing import holdings_data

if TYPE_CHECKING:  # the records only: rendering needs none of the rooms behind them
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.create import Creation
    from ktrdr_sandbox.commands.demo import Cleanup, Demonstration
    from ktrdr_sandbox.commands.destroy import Destruction, DestructionPlan, Shutdown
    from ktrdr_sandbox.commands.environment import InstanceEnvironment
    from ktrdr_sandbox.commands.inspect import InstanceStatus, Listing
    from ktrdr_sandbox.commands.moving import Move
    from ktrdr_sandbox.commands.up import Startup
    from ktrdr_sandbox.models import Instance, PublishedPort


def instance(value: Instance) -> dict[str, Any]:
    return {
        "id": value.id,
        "name": value.name,
        "uuid": value.uuid,
        "slot": value.slot,
        "path": str(value.path),
        "created_at": value.created_at,
        "created_by": value.created_by,
        "is_worktree": value.is_worktree,
        "parent_repo": None if value.parent_repo is None else str(value.parent_repo),
        "engine": value.engine.label,
    }


def published(ports: Sequence[PublishedPort]) -> list[dict[str, Any]]:
    return [asdict(port) for port in ports]


def creation(result: Creation) -> dict[str, Any]:
    return {
        "instance": instance(result.instance),
        "branch": result.branch,
        "new_branch": result.new_branch,
        "ports": dict(result.ports),
        "skipped_slots": {
            str(slot): [port.port for port in ports] for slot, ports in result.skipped.items()
        },
        "copied": list(result.copies.copied),
        "not_copied": [{"path": name, "reason": reason} for name, reason in result.copies.left_out],
    }


def move(result: Move) -> dict[str, Any]:
    return {
        "instance": instance(result.instance),
        "former_slot": result.former_slot,
        "ports": dict(result.ports),
    }


def startup(result: Startup) -> dict[str, Any]:
    from ktrdr_sandbox.gate.report import as_json

    return {
        "instance": instance(result.instance),
        "ports": published(result.stack.ports),
        "gate": None if result.gate is None else as_json(result.gate),
        "notices": [{"service": n.service, "text": n.text} for n in result.notices],
        "seconds": round(result.seconds, 3),
    }


def shutdown(result: Shutdown) -> dict[str, Any]:
    return {
        "instance": instance(result.instance),
        "removed": list(result.removed.names()),
        "volumes_kept": list(result.volumes_kept),
    }


def destruction_plan(plan: DestructionPlan) -> dict[str, Any]:
    return {
        "instance": instance(plan.instance),
        "resources": list(plan.resources.names()),
        "images": list(plan.images),
        "directory": None if plan.directory is None else str(plan.directory),
        "kept_because": plan.kept_because,
        "branch": plan.branch,
        "unsaved": {
            "files": list(plan.unsaved.files),
            "operation": plan.unsaved.operation,
            "commits": list(plan.unsaved.commits),
            "repositories": list(plan.unsaved.repositories),
        },
        "ignored": list(plan.ignored),
    }


def destruction(result: Destruction) -> dict[str, Any]:
    return {
        **destruction_plan(result.plan),
        "trash": None if result.trash is None else str(result.trash),
    }


def listing(result: Listing) -> dict[str, Any]:
    return {
        "instances": [
            {**instance(row.instance), "status": row.status, "api_port": row.api_port}
            for row in result.instances
        ],
        "dropped": [entry.id for entry in result.dropped],
    }


def status(result: InstanceStatus) -> dict[str, Any]:
    return {
        "instance": instance(result.instance),
        "status": result.status,
        "ports": published(result.ports),
        "containers": [
            {
                "name": c.name,
                "service": c.service,
                "state": c.state,
                "status": c.status,
                "image": c.image,
            }
            for c in result.containers
        ],
        "missing": list(result.missing),
        "shared": holdings_data(result.shared),
    }


def statuses(found: Sequence[InstanceStatus]) -> dict[str, Any]:
    return {"instances": [status(one) for one in found]}


def isolation(found: Composition) -> dict[str, Any]:
    result = found.isolation
    return {
        "instance": instance(found.instance),
        "files": [str(path) for path in found.call.files[:-1]],
        "changes": [asdict(change) for change in result.changes],
        "refusals": [asdict(refusal) for refusal in result.refusals],
        "notices": [asdict(notice) for notice in result.notices],
        "ports": published(result.stack.ports),
        "override": found.override,
    }


def demonstration(result: Demonstration) -> dict[str, Any]:
    return {
        "directory": str(result.folder),
        "stacks": [startup(one) for one in result.startups],
    }


def cleanup(result: Cleanup) -> dict[str, Any]:
    return {
        "destroyed": [one.id for one in result.destroyed],
        "directory": None if result.folder is None else str(result.folder),
    }


def environment_data(given: InstanceEnvironment) -> dict[str, Any]:
    """With its secrets: for a disclosure only."""
    return {
        "instance": instance(given.instance),
        "file": str(given.instance.env_file),
        "environment": dict(given.values),
    }
