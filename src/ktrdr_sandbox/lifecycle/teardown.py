"""down and destroy. Nothing without the instance's uuid label is removed, and no file is needed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from ktrdr_sandbox.durable import cannot_write, make_folder
from ktrdr_sandbox.engine.interface import Engine, Resources
from ktrdr_sandbox.env_file import reader
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import record
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.worktrees.operations import remove_worktree
from ktrdr_sandbox.worktrees.repository import (
    UnsavedWork,
    current_branch,
    unsaved_work,
    worktrees,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """What down removed."""

    instance: Instance
    removed: Resources
    volumes_kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestructionPlan:
    """What destroy would do. `directory` is None when it stays."""

    instance: Instance
    resources: Resources
    images: tuple[str, ...]
    directory: Path | None
    kept_because: str | None
    unsaved: UnsavedWork
    branch: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """What destroy did. `trash` is where a directory with unsaved work was moved."""

    plan: DestructionPlan
    trash: Path | None


def down(place: Workplace, instance: Instance, *, volumes: bool, now: bool = False) -> Shutdown:
    """Stop and remove containers and networks; the data only with `volumes`.

    Each container gets its own grace period unless `now`. Raises `teardown-incomplete`.
    """
    lock = place.home.instance_lock(instance.id)
    with hold(lock, purpose=f"down {instance.name}", patience=600.0, tell=place.tell):
        engine = place.engine(instance.engine)
        found = engine.resources(instance.uuid)
        doomed = (
            found if volumes else Resources(containers=found.containers, networks=found.networks)
        )
        _remove(engine, instance, doomed, grace=0 if now else None)
    kept = () if volumes else found.volumes
    return Shutdown(instance=instance, removed=doomed, volumes_kept=kept)


def _remove(engine: Engine, instance: Instance, doomed: Resources, *, grace: int | None) -> None:
    """Remove, then ask the engine again and name what survived."""
    if not doomed:
        return
    engine.remove(doomed, grace=grace)
    now = engine.resources(instance.uuid)
    survivors = Resources(
        containers=now.containers,
        networks=tuple(name for name in now.networks if name in doomed.networks),
        volumes=tuple(name for name in now.volumes if name in doomed.volumes),
    )
    if survivors:
        raise SandboxError(
            "teardown-incomplete",
            f"Some of {instance.id} could not be removed: {', '.join(survivors.names())}.",
            hints=("Something else may use them: docker network inspect, docker ps --all",),
            details={"left": list(survivors.names())},
        )


def plan_destruction(
    place: Workplace, instance: Instance, *, keep_worktree: bool
) -> DestructionPlan:
    """What destroy would remove, and what work stands in its way."""
    engine = place.engine(instance.engine)
    directory, reason = _directory(instance, keep_worktree=keep_worktree)
    stays = directory is None or not directory.is_dir()
    return DestructionPlan(
        instance=instance,
        resources=engine.resources(instance.uuid),
        images=record.load(place.home, instance).images,
        directory=directory,
        kept_because=reason,
        unsaved=UnsavedWork() if stays or directory is None else unsaved_work(directory),
        branch=None if stays or directory is None else current_branch(directory),
    )


def _directory(instance: Instance, *, keep_worktree: bool) -> tuple[Path | None, str | None]:
    """The directory to delete, or None and why it stays."""
    if keep_worktree:
        return None, "--keep-worktree"
    if instance.created_by != "create":
        return None, "'create' did not make it"
    if not instance.path.is_dir():
        return None, None
    if not _is_ours(instance):
        return None, "it is no longer this instance's worktree"
    return instance.path, None


def _is_ours(instance: Instance) -> bool:
    """The directory is a linked worktree of the repository, and not marked as another's."""
    if not _has_repository(instance):
        return False
    linked = {
        worktree.path.resolve() for worktree in worktrees(cast("Path", instance.parent_repo))[1:]
    }
    if instance.path.resolve() not in linked:
        return False
    if not instance.env_file.is_file():
        return True
    return reader.read(instance.env_file).get("SANDBOX_UUID", instance.uuid) == instance.uuid


def destroy(
    place: Workplace, instance: Instance, *, keep_worktree: bool, force: bool
) -> Destruction:
    """Remove all of an instance but its branch.

    Raises `would-lose-work` unless `force`, which moves the directory to the trash folder instead
    of deleting it; `teardown-incomplete`. The registry entry goes last, when all else is gone.
    """
    lock = place.home.instance_lock(instance.id)
    with hold(lock, purpose=f"destroy {instance.name}", patience=600.0, tell=place.tell):
        plan = plan_destruction(place, instance, keep_worktree=keep_worktree)
        if plan.unsaved and not force:
            raise _would_lose_work(plan)
        place.registry.add(instance.with_state("removing"))
        engine = place.engine(instance.engine)
        # No grace: what is going to be deleted has nothing to save.
        _remove(engine, instance, plan.resources, grace=0)
        for image in plan.images:
            engine.untag(image)
        trash = _remove_directory(place, plan)
        shutil.rmtree(place.home.state_of(instance.id), ignore_errors=True)
        place.registry.drop(instance)
    return Destruction(plan=plan, trash=trash)


def _would_lose_work(plan: DestructionPlan) -> SandboxError:
    lines = plan.unsaved.lines()
    shown = lines[:20] + ([f"... and {len(lines) - 20} more"] if len(lines) > 20 else [])
    return SandboxError(
        "would-lose-work",
        "\n".join(
            [f"{plan.directory} holds work that is nowhere else:", *(f"  {x}" for x in shown)]
        ),
        hints=(
            "Commit or stash it, or keep the directory: --keep-worktree",
            "With --force the directory is moved to the trash folder, not deleted.",
        ),
        details={
            "path": str(plan.directory),
            "files": list(plan.unsaved.files),
            "operation": plan.unsaved.operation,
            "commits": list(plan.unsaved.commits),
        },
    )


def _remove_directory(place: Workplace, plan: DestructionPlan) -> Path | None:
    instance, directory = plan.instance, plan.directory
    trash = None
    if directory is None:
        _unmark(instance)
    elif plan.unsaved:
        trash = _move_to_trash(place, instance, directory)
    gone = directory is not None or not instance.path.exists()
    if gone and instance.created_by == "create" and _has_repository(instance):
        remove_worktree(cast("Path", instance.parent_repo), instance.path)
    return trash


def _has_repository(instance: Instance) -> bool:
    return instance.parent_repo is not None and instance.parent_repo.is_dir()


def _unmark(instance: Instance) -> None:
    """Take away the marker from a directory that stays, if it is this instance's."""
    if not instance.env_file.is_file():
        return
    if reader.read(instance.env_file).get("SANDBOX_UUID", instance.uuid) == instance.uuid:
        try:
            instance.env_file.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(instance.env_file, error) from error


def _move_to_trash(place: Workplace, instance: Instance, directory: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    trash = place.home.sandbox / "trash" / f"{instance.id}-{stamp}"
    make_folder(trash.parent)
    try:
        shutil.move(directory, trash)
    except OSError as error:
        raise cannot_write(trash, error) from error
    return trash
