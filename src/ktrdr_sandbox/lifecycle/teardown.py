"""down and destroy. Nothing without the instance's uuid label is removed, and no file is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ktrdr_sandbox.engine.interface import Resources
from ktrdr_sandbox.env_file import reader
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import journal, record
from ktrdr_sandbox.lifecycle.deletion import trash_place
from ktrdr_sandbox.lifecycle.demolition import (
    Demolition,
    common_dir_of,
    demolish,
    doomed_place,
    remove_resources,
)
from ktrdr_sandbox.lifecycle.recovery import held
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
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
    with held(place, instance, purpose="down") as instance:
        engine = place.engine(instance.engine)
        found = engine.resources(instance.uuid)
        doomed = (
            found if volumes else Resources(containers=found.containers, networks=found.networks)
        )
        facts = {"volumes": volumes, "now": now}
        with (
            journal.operation(place.home, instance.id, "down", facts) as log,
            log.step("containers"),
        ):
            grace = 0 if now else None
            remove_resources(engine, instance.id, doomed, instance.uuid, grace=grace)
    kept = () if volumes else found.volumes
    return Shutdown(instance=instance, removed=doomed, volumes_kept=kept)


def plan_destruction(
    place: Workplace, instance: Instance, *, keep_worktree: bool, without_docker: bool = False
) -> DestructionPlan:
    """What destroy would remove, and what work stands in its way.

    `without_docker` is for an engine that is gone for good: it is not asked.
    """
    directory, reason = _directory(instance, keep_worktree=keep_worktree)
    stays = directory is None or not directory.is_dir()
    return DestructionPlan(
        instance=instance,
        resources=Resources()
        if without_docker
        else place.engine(instance.engine).resources(instance.uuid),
        images=() if without_docker else record.load(place.home, instance).images,
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
    _refuse_locked(instance)
    return instance.path, None


def _refuse_locked(instance: Instance) -> None:
    """Somebody asked git to keep it."""
    for worktree in worktrees(instance.path):
        if worktree.path.resolve() == instance.path.resolve() and worktree.locked is not None:
            reason = f" ({worktree.locked})" if worktree.locked else ""
            raise SandboxError(
                "git-failed",
                f"{instance.path} is locked by 'git worktree lock'{reason}.",
                hints=(f"git worktree unlock '{instance.path}'", "or keep it: --keep-worktree"),
                details={"path": str(instance.path), "reason": worktree.locked},
            )


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
    place: Workplace,
    instance: Instance,
    *,
    keep_worktree: bool,
    force: bool,
    without_docker: bool = False,
) -> Destruction:
    """Remove all of an instance but its branch.

    Raises `would-lose-work` unless `force`, which moves the directory to the trash folder instead
    of deleting it; `teardown-incomplete`. The registry entry goes last, when all else is gone.
    """
    with held(place, instance, purpose="destroy") as instance:
        plan = plan_destruction(
            place, instance, keep_worktree=keep_worktree, without_docker=without_docker
        )
        if plan.unsaved and not force:
            raise _would_lose_work(plan)
        trash = _demolish(place, plan, force=force, without_docker=without_docker)
    return Destruction(plan=plan, trash=trash)


def _demolish(
    place: Workplace, plan: DestructionPlan, *, force: bool, without_docker: bool
) -> Path | None:
    instance = plan.instance
    trash = trash_place(place.home, instance.id) if plan.unsaved else None
    demolition = Demolition(
        instance_id=instance.id,
        uuid=instance.uuid,
        path=instance.path,
        main=instance.parent_repo or (instance.path if instance.path.is_dir() else None),
        common_dir=common_dir_of(instance.parent_repo or instance.path),
        engine=None if without_docker else instance.engine,
        made_by_us=instance.created_by == "create",
        deletes=plan.directory is not None,
        doomed=doomed_place(instance),
        trash=trash,
        images=plan.images,
        tools=tuple(dict.fromkeys([*(c.image for c in plan.resources.containers), *plan.images])),
    )

    def check() -> None:
        if not force and plan.directory is not None and unsaved_work(plan.directory):
            raise _would_lose_work(replace(plan, unsaved=unsaved_work(plan.directory)))

    with journal.operation(place.home, instance.id, "destroy", demolition.facts()) as log:
        demolish(place, instance, demolition, log, check)
    return trash


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


def _has_repository(instance: Instance) -> bool:
    return instance.parent_repo is not None and instance.parent_repo.is_dir()
