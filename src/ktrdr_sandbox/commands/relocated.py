"""Recognises an instance whose directory was moved, and tells copies apart.

The marker in a directory only says whose it would be: a copy has it too, and the registered
directory may be away for a moment, on a disk that is not mounted. What proves a move is the
directory itself, by its inode number, for what the registry has is what `destroy` deletes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.state.registry_file import Registry

if TYPE_CHECKING:
    from ktrdr_sandbox.git.repository import Repository


def recognise(context: Context, instance: Instance, *, here: Path | None = None) -> Instance:
    """The instance with the path it has now; the registry follows, after saying so.

    `here` is the directory a marker of the instance was found in, when it was meant by that. Raises
    `no-such-instance` for any that is not the registered one, moved.
    """
    if here is not None and here.resolve() != instance.path.resolve():
        if has_marker(instance.path, instance):
            raise _copy(instance, here)
        if not is_same_directory(here, instance):
            raise _stranger(instance, here)
        return _follow(context, instance, here)
    if instance.path.is_dir():
        return instance
    moved = _elsewhere(instance)
    return instance if moved is None else _follow(context, instance, moved)


def is_same_directory(directory: Path, instance: Instance) -> bool:
    """Whether it is the one that the instance was made in, wherever it is now."""
    try:
        return directory.stat().st_ino == instance.inode
    except OSError:
        return False


def has_marker(directory: Path, instance: Instance) -> bool:
    from ktrdr_sandbox import env_file  # this and git: only where something was moved

    marker = directory / ENV_FILE_NAME
    with contextlib.suppress(SandboxError):
        return marker.is_file() and env_file.read(marker).get("SANDBOX_UUID") == instance.uuid
    return False


def _elsewhere(instance: Instance) -> Path | None:
    """Where git lists a worktree with the instance's marker."""
    from ktrdr_sandbox.git.repository import worktrees

    parent = instance.parent_repo
    if parent is None or not parent.is_dir():
        return None
    with contextlib.suppress(SandboxError):
        for worktree in worktrees(parent):
            found = worktree.path
            if found != instance.path and has_marker(found, instance):
                return found if is_same_directory(found, instance) else None
    return None


def adopt(context: Context, repository: Repository) -> Instance | None:
    """Let a directory go on as the instance that its marker names; None for any other directory.

    Somebody says so, for what was made is not there any more. `create` did not make this one, so
    `destroy` does not delete it.
    """
    from ktrdr_sandbox import env_file
    from ktrdr_sandbox.commands.compose_project import write_env_file

    root = repository.root
    marker = root / ENV_FILE_NAME
    values = env_file.read(marker) if marker.is_file() else {}
    known = context.registry.read().instances.get(values.get("INSTANCE_ID", ""))
    if known is None or values.get("SANDBOX_UUID") != known.uuid or known.path == root:
        return None
    lock = context.home.instance_lock(known.id)
    with hold(lock, purpose="init", patience=context.lock_patience, tell=context.tell):
        known = context.registry.read().instances.get(
            known.id, known
        )  # it may have moved meanwhile
        if has_marker(known.path, known):
            raise _copy(known, root)
        kept = replace(
            known,
            path=root,
            inode=root.stat().st_ino,
            is_worktree=repository.is_linked,
            parent_repo=repository.main if repository.is_linked else None,
            created_by="init",
        )
        _save(context, kept)
        write_env_file(context, kept)
    return kept


def _copy(instance: Instance, here: Path) -> SandboxError:
    return _another(
        instance,
        here,
        f"{here} is a copy: its {ENV_FILE_NAME} is that of {instance.id}, which is at "
        f"{instance.path}.",
        f"To work with {instance.name}, go there or give its name.",
        f"To make the copy an instance: remove its {ENV_FILE_NAME}, run 'ktrdr-sandbox init'.",
    )


def _stranger(instance: Instance, here: Path) -> SandboxError:
    return _another(
        instance,
        here,
        f"{here} has the {ENV_FILE_NAME} of {instance.id}, but is not the directory that this was "
        f"made in: a copy, or moved to another disk. {instance.path} is not there now.",
        f"To go on with {instance.name} in {here}: run 'ktrdr-sandbox init' in it.",
        f"If {instance.path} is on a disk that is not there: bring it back.",
        f"To end {instance.name}: {own_commands.on(instance.name, 'destroy')}",
    )


def _another(instance: Instance, here: Path, message: str, *hints: str) -> SandboxError:
    """The marker in `here` is the instance's, the directory is not."""
    details = {"instance": instance.id, "path": str(instance.path), "copy": str(here)}
    return SandboxError("no-such-instance", message, hints=hints, details=details)


def _save(context: Context, moved: Instance) -> None:
    """Its place in the registry, and in git's list of worktrees."""

    def change(registry: Registry) -> tuple[Registry, None]:
        current = registry.instances.get(moved.id)
        if current is None or current.uuid != moved.uuid:
            return registry, None
        return registry.with_instance(moved), None

    context.registry.update(change)
    from ktrdr_sandbox.git.worktree import repair_worktree

    if moved.is_worktree and moved.parent_repo is not None and moved.parent_repo.is_dir():
        repair_worktree(moved.parent_repo, moved.path)


def _follow(context: Context, instance: Instance, now: Path) -> Instance:
    moved = replace(instance, path=now)
    _save(context, moved)
    context.tell(
        f"{instance.id} was moved from {instance.path} to {now}; the registry follows. If its "
        "stack runs, 'up' makes the containers anew for the new place."
    )
    return moved
