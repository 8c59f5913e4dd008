"""Recognises an instance whose directory was moved, by the marker in it, and tells copies apart."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.registry.schema import Registry


def recognise(place: Workplace, instance: Instance, *, here: Path | None = None) -> Instance:
    """The instance with the path it has now; the registry follows, after saying so.

    `here` is the directory a marker of the instance was found in, when it was meant by that. Raises
    `no-such-instance` for a copy: the registered directory is still there and has the marker too.
    """
    if here is not None and here.resolve() != instance.path.resolve():
        if _has_marker(instance.path, instance):
            raise _copy(instance, here)
        return _follow(place, instance, here)
    if instance.path.is_dir():
        return instance
    moved = _elsewhere(instance)
    return instance if moved is None else _follow(place, instance, moved)


def _has_marker(directory: Path, instance: Instance) -> bool:
    from ktrdr_sandbox.env_file import reader  # this and git: only where something was moved

    marker = directory / ENV_FILE_NAME
    with contextlib.suppress(SandboxError):
        return marker.is_file() and reader.read(marker).get("SANDBOX_UUID") == instance.uuid
    return False


def _elsewhere(instance: Instance) -> Path | None:
    """Where git lists a worktree with the instance's marker."""
    from ktrdr_sandbox.worktrees.repository import worktrees

    parent = instance.parent_repo
    if parent is None or not parent.is_dir():
        return None
    with contextlib.suppress(SandboxError):
        for worktree in worktrees(parent):
            if worktree.path != instance.path and _has_marker(worktree.path, instance):
                return worktree.path
    return None


def _copy(instance: Instance, here: Path) -> SandboxError:
    return SandboxError(
        "no-such-instance",
        f"{here} is a copy: its {ENV_FILE_NAME} is that of {instance.id}, which is at "
        f"{instance.path}.",
        hints=(
            f"To work with {instance.name}, go there or give its name.",
            f"To make the copy an instance: remove its {ENV_FILE_NAME}, run 'ktrdr-sandbox init'.",
        ),
        details={"instance": instance.id, "path": str(instance.path), "copy": str(here)},
    )


def _follow(place: Workplace, instance: Instance, now: Path) -> Instance:
    def change(registry: Registry) -> tuple[Registry, Instance]:
        current = registry.instances.get(instance.id)
        if current is None or current.uuid != instance.uuid:
            return registry, instance
        moved = replace(current, path=now)
        return registry.with_instance(moved), moved

    moved = place.registry.update(change)
    from ktrdr_sandbox.worktrees.entries import repair_worktree

    if moved.is_worktree and moved.parent_repo is not None and moved.parent_repo.is_dir():
        repair_worktree(moved.parent_repo, now)
    place.tell(
        f"{instance.id} was moved from {instance.path} to {now}; the registry follows. If its "
        "stack runs, 'up' makes the containers anew for the new place."
    )
    return moved
