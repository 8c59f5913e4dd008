"""Resolve an instance whose directory was moved, and tell copies apart.

The marker in a directory only says whose it would be: a copy has it too, and the registered
directory may be away for a moment, on a disk that is not mounted. What proves a move is the
directory itself, by its inode number, for what the registry has is what `destroy` deletes.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.commands.context import Context, locked_name
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import Repository, worktrees
from ktrdr_sandbox.git.worktree import repair_worktree
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance


def resolve_moved(context: Context, instance: Instance, *, here: Path | None = None) -> Instance:
    """The instance with the path it has now; the registry follows, after saying so.

    `here` is the directory a marker of the instance was found in, when it was meant by that. Raises
    `no-such-instance` for any that is not the registered one, moved.
    """
    if here is not None and here.resolve() != instance.path.resolve():
        if has_marker(instance.path, instance):
            raise _copy(instance, here)
        if not _is_same_directory(here, instance):
            raise _foreign(
                instance,
                here,
                f"{here} has the {ENV_FILE_NAME} of {instance.id}, but is not the directory that "
                "this was made in: a copy, or moved to another disk. "
                f"{instance.path} is not there now.",
                f"To go on with {instance.name} in {here}: run 'ktrdr-sandbox init' in it.",
                f"If {instance.path} is on a disk that is not there: bring it back.",
                f"To end {instance.name}: {own_commands.on(instance.name, 'destroy')}",
            )
    else:
        here = None if instance.path.is_dir() else _elsewhere(instance)
    if here is None:
        return instance
    moved = replace(instance, path=here)
    _save(context, moved)
    context.tell(
        f"{instance.id} was moved from {instance.path} to {here}; the registry follows. If its "
        "stack runs, 'up' makes the containers anew for the new place."
    )
    return moved


def _is_same_directory(directory: Path, instance: Instance) -> bool:
    """Whether it is the one that the instance was made in, wherever it is now."""
    with contextlib.suppress(OSError):
        return directory.stat().st_ino == instance.inode
    return False


def has_marker(directory: Path, instance: Instance) -> bool:
    """Whether a directory has the instance's `.env.sandbox`, and may be looked into."""
    marker = directory / ENV_FILE_NAME
    with contextlib.suppress(SandboxError, OSError):
        return marker.is_file() and env_file.read(marker).get("SANDBOX_UUID") == instance.uuid
    return False


def _elsewhere(instance: Instance) -> Path | None:
    """Where git lists a worktree with the instance's marker."""
    parent = instance.parent_repo
    if parent is not None and parent.is_dir():
        with contextlib.suppress(SandboxError):
            for worktree in worktrees(parent):
                found = worktree.path
                if found != instance.path and has_marker(found, instance):
                    return found if _is_same_directory(found, instance) else None
    return None


def reattach(context: Context, repository: Repository, *, dry_run: bool) -> Instance | None:
    """Let a directory go on as the instance that its marker names; None for any other directory.

    Somebody says so, for what was made is not there any more. `create` did not make this one, so
    `destroy` does not delete it.
    """
    root = repository.root
    marker = root / ENV_FILE_NAME
    values = env_file.read(marker) if marker.is_file() else {}
    known = context.registered(values.get("INSTANCE_ID", ""), uuid=values.get("SANDBOX_UUID", ""))
    if known is None or known.path == root:
        return None
    with locked_name(context, known.id, purpose="init"):
        known = context.registered(known.id) or known  # it may have moved meanwhile
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
        if not dry_run:
            # It loads all of isolation, which `list` and `status` do without.
            from ktrdr_sandbox.commands.compose_project import write_env_file

            _save(context, kept)
            write_env_file(context, kept)
    return kept


def _copy(instance: Instance, here: Path) -> SandboxError:
    return _foreign(
        instance,
        here,
        f"{here} is a copy: its {ENV_FILE_NAME} is that of {instance.id}, which is at "
        f"{instance.path}.",
        f"To work with {instance.name}, go there or give its name.",
        f"To make the copy an instance: remove its {ENV_FILE_NAME}, run 'ktrdr-sandbox init'.",
    )


def _foreign(instance: Instance, here: Path, message: str, *hints: str) -> SandboxError:
    """A directory with an instance's marker that is not the instance's directory."""
    details = {"instance": instance.id, "path": str(instance.path), "copy": str(here)}
    return SandboxError("no-such-instance", message, hints=hints, details=details)


def _save(context: Context, moved: Instance) -> None:
    """Its place in the registry, and in git's list of worktrees."""
    context.registry.replace(moved)
    if moved.is_worktree and moved.parent_repo is not None and moved.parent_repo.is_dir():
        repair_worktree(moved.parent_repo, moved.path)
