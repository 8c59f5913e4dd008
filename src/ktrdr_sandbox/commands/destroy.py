"""down and destroy. Nothing without the instance's uuid label is removed, and no file is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ktrdr_sandbox import env_file
from ktrdr_sandbox.background import asked
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.demolition import (
    Demolition,
    common_dir_of,
    demolish,
    doomed_place,
    remove_resources,
)
from ktrdr_sandbox.commands.recover import held
from ktrdr_sandbox.commands.trash import mounts_in, trash_place
from ktrdr_sandbox.docker.engine import Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import current_branch, locate, worktrees
from ktrdr_sandbox.git.unsaved import UnsavedWork, ignored_files, unsaved_work
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.state import journal, last_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """What down removed."""

    instance: Instance
    removed: Resources
    volumes_kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestructionPlan:
    """What destroy would do. `directory` is None when it stays; `ignored` is what git ignores in
    it, which goes with it and counts for no work."""

    instance: Instance
    resources: Resources
    images: tuple[str, ...]
    directory: Path | None
    kept_because: str | None
    unsaved: UnsavedWork
    branch: str | None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destruction:
    """What destroy did. `trash` is where a directory with unsaved work was moved."""

    plan: DestructionPlan
    trash: Path | None


def down(context: Context, instance: Instance, *, volumes: bool, now: bool = False) -> Shutdown:
    """Stop and remove containers and networks; the data only with `volumes`.

    Each container gets its own grace period unless `now`. Raises `teardown-incomplete`.
    """
    with held(context, instance, purpose="down") as instance:
        engine = context.engine(instance.engine)
        found = engine.resources(instance.uuid)
        doomed = (
            found if volumes else Resources(containers=found.containers, networks=found.networks)
        )
        facts = {"volumes": volumes, "now": now}
        with (
            journal.operation(context.home, instance.id, "down", facts) as log,
            log.step("containers"),
        ):
            grace = 0 if now else None
            remove_resources(engine, instance.id, doomed, instance.uuid, grace=grace)
    kept = () if volumes else found.volumes
    return Shutdown(instance=instance, removed=doomed, volumes_kept=kept)


def plan_destruction(
    context: Context, instance: Instance, *, keep_worktree: bool, without_docker: bool = False
) -> DestructionPlan:
    """What destroy would remove, and what work stands in its way.

    `without_docker` is for an engine that is gone for good: it is not asked.
    """
    # The engine's answer takes as long as all of git's.
    resources = (
        None
        if without_docker
        else asked(lambda: context.engine(instance.engine).resources(instance.uuid))
    )
    directory, reason = _directory(context, instance, keep_worktree=keep_worktree)
    goes = directory is not None and directory.is_dir()
    unsaved = unsaved_work(directory) if directory and goes else UnsavedWork()
    return DestructionPlan(
        instance=instance,
        resources=Resources() if resources is None else resources.result(),
        images=() if without_docker else last_up.load(context.home, instance).images,
        directory=directory,
        kept_because=reason,
        unsaved=unsaved,
        branch=current_branch(directory) if directory and goes else None,
        ignored=_ignored(directory) if directory and goes else (),
    )


def _ignored(directory: Path) -> tuple[str, ...]:
    own = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
    return tuple(name for name in ignored_files(directory) if name not in own)


def _directory(
    context: Context, instance: Instance, *, keep_worktree: bool
) -> tuple[Path | None, str | None]:
    """The directory to delete, or None and why it stays."""
    if keep_worktree:
        return None, "--keep-worktree"
    if instance.created_by != "create":
        return None, "'create' did not make it"
    if not instance.path.is_dir():
        return None, None
    if not _is_ours(instance):
        return None, "it is no longer this instance's worktree"
    others = [one for one in context.registry.read().instances.values() if one.id != instance.id]
    for other in others:
        if _lies_in(instance.path, other.path):
            return None, f"it lies in the directory of {other.id}"
    _refuse_locked(instance)
    _refuse_foreign(context, instance, others)
    return instance.path, None


def _lies_in(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def _refuse_foreign(context: Context, instance: Instance, others: Sequence[Instance]) -> None:
    """Something is in the directory that is not the worktree's, and not even --force may take."""
    found = [
        (other.path, f"the directory of {other.id}", f"destroy or move {other.name} first")
        for other in others
    ]
    found.append((context.home.root, "KTRDR_HOME", "move it elsewhere first"))
    if instance.parent_repo is not None:
        found.append((instance.parent_repo, "its own repository", "move it elsewhere first"))
    found = [one for one in found if one[0].is_dir() and _lies_in(one[0], instance.path)]
    found += [(path, "mounted there", f"umount '{path}'") for path in mounts_in(instance.path)]
    if found:
        path, what, way_out = found[0]
        raise SandboxError(
            "would-lose-work",
            f"{instance.path} cannot be deleted: in it is {path}, {what}.",
            hints=(f"{way_out[0].upper()}{way_out[1:]}", "Or keep the directory: --keep-worktree"),
            details={"path": str(instance.path), "inside": [str(one[0]) for one in found]},
        )


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
    """The directory is a linked worktree of the repository, and not marked as another's.

    Git is asked from both sides: its list alone does not tell of a directory that has become
    something else since.
    """
    if not _has_repository(instance):
        return False
    here = instance.path.resolve()
    linked = {
        worktree.path.resolve() for worktree in worktrees(cast("Path", instance.parent_repo))[1:]
    }
    if here not in linked or not _knows_its_repository(instance):
        return False
    if not instance.env_file.is_file():
        return True
    return env_file.read(instance.env_file).get("SANDBOX_UUID", instance.uuid) == instance.uuid


def _knows_its_repository(instance: Instance) -> bool:
    """Git in the directory means this worktree, not a repository around it or a new one in it."""
    try:
        found = locate(instance.path)
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return False
    return found.root.resolve() == instance.path.resolve() and found.common_dir == common_dir_of(
        instance.parent_repo
    )


def destroy(
    context: Context,
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
    with held(context, instance, purpose="destroy") as instance:
        plan = plan_destruction(
            context, instance, keep_worktree=keep_worktree, without_docker=without_docker
        )
        if plan.unsaved and not force:
            raise _would_lose_work(plan)
        trash = _demolish(context, plan, without_docker=without_docker)
    return Destruction(plan=plan, trash=trash)


def _demolish(context: Context, plan: DestructionPlan, *, without_docker: bool) -> Path | None:
    instance = plan.instance
    trash = trash_place(context.home, instance.id) if plan.unsaved else None
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
        if trash is None and plan.directory is not None:
            now = unsaved_work(plan.directory)
            if now:  # even by force: the trash was not prepared for it
                raise _would_lose_work(replace(plan, unsaved=now))

    with journal.operation(context.home, instance.id, "destroy", demolition.facts()) as log:
        demolish(context, instance, demolition, log, check)
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
            "repositories": list(plan.unsaved.repositories),
        },
    )


def _has_repository(instance: Instance) -> bool:
    return instance.parent_repo is not None and instance.parent_repo.is_dir()
