"""destroy: plan what goes and what work stands in its way, then remove all but the branch.

Every step can be repeated, so that after a kill they are simply gone through. Until the directory
is renamed nothing is lost that `up` cannot make again, except data in volumes; from then on the
rest is finished, whatever happens. Nothing without the instance's uuid label is removed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from ktrdr_sandbox import env_file
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.context import Context, locked_instance, locked_repository
from ktrdr_sandbox.commands.down import remove_resources, stop_as_compose
from ktrdr_sandbox.commands.trash import delete, give_to_user, mounts_in, move_to_trash, trash_path
from ktrdr_sandbox.docker.engine import STOPPED, Engine, LineSink, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, sync_folder
from ktrdr_sandbox.git.git import wait_for_git_on
from ktrdr_sandbox.git.ignored import show_env_file
from ktrdr_sandbox.git.repository import Worktree, common_dir, current_branch, locate, worktrees
from ktrdr_sandbox.git.unsaved import UnsavedWork, ignored_files, keep_git_data, unsaved_work
from ktrdr_sandbox.git.worktree import forget_worktree, listed
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.settings import Settings
from ktrdr_sandbox.state import journal, last_up
from ktrdr_sandbox.state.values import to_json

_ANONYMOUS: Final = re.compile(r"[0-9a-f]{64}")

# Steps whose beginning does not yet mean that the directory is touched.
_REVOCABLE: Final = frozenset({"entry removing", "containers", "directory renamed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyPlan:
    """What destroy will do.

    `directory` is None when it stays, `kept_because` says why. `trash` is where it is kept, None
    when there is nothing to keep. `ignored` is what git ignores in it, which goes with it and
    counts for no work. `images` are tags to take away, `chown_images` may serve to give root's
    files to the user. `finish_first` are services that write to what outlives the instance: they
    get their signal, and `grace` seconds.
    """

    instance: Instance
    common_dir: Path | None
    without_docker: bool = False
    resources: Resources = field(default_factory=Resources)
    images: tuple[str, ...] = ()
    chown_images: tuple[str, ...] = ()
    directory: Path | None = None
    kept_because: str | None = None
    unsaved: UnsavedWork = field(default_factory=UnsavedWork)
    branch: str | None = None
    ignored: tuple[str, ...] = ()
    trash: Path | None = None
    finish_first: tuple[str, ...] = ()
    grace: int = 0

    @property
    def main(self) -> Path:
        """The repository's main worktree, where `common_dir` is known."""
        return self.instance.parent_repo or self.instance.path

    @property
    def pending_delete(self) -> Path:
        """What the directory is called once it is no longer the worktree.

        Beside it, so that the rename is one step; told apart by the uuid.
        """
        name = f".{self.instance.id}.removing-{self.instance.uuid[:8]}"
        return self.instance.path.with_name(name)


def destroy(
    context: Context,
    instance: Instance,
    *,
    keep_worktree: bool,
    force: bool,
    without_docker: bool = False,
    now: bool = False,
    progress: LineSink = lambda _: None,
) -> DestroyPlan:
    """Remove all of an instance but its branch; with `now`, no container may finish anything.

    Raises `would-lose-work` unless `force`, which moves the directory to the trash folder instead
    of deleting it; `teardown-incomplete`. The registry entry goes last, when all else is gone.
    """
    with locked_instance(context, instance, purpose="destroy") as instance:
        plan = plan_destroy(
            context, instance, keep_worktree=keep_worktree, without_docker=without_docker, now=now
        )
        if plan.unsaved and not force:
            raise _would_lose_work(instance.path, plan.unsaved)
        _apply(context, plan, progress)
    return plan


# -- the plan ------------------------------------------------------------------------------------


def plan_destroy(
    context: Context,
    instance: Instance,
    *,
    keep_worktree: bool,
    without_docker: bool = False,
    now: bool = False,
) -> DestroyPlan:
    """What destroy would remove, and what work stands in its way. Changes nothing.

    `without_docker` is for an engine that is gone for good: it is not asked.
    """
    engine = context.engine(instance.engine)
    # The engine's answer takes as long as all of git's.
    answer = None if without_docker else run_in_background(lambda: engine.resources(instance.uuid))
    reason = "--keep-worktree" if keep_worktree else _reason_to_keep(context, instance)
    plan = DestroyPlan(
        instance=instance,
        common_dir=common_dir_of(instance.parent_repo or instance.path),
        without_docker=without_docker,
        kept_because=reason,
    )
    if reason is None and instance.path.is_dir():
        unsaved = unsaved_work(instance.path)
        own = (ENV_FILE_NAME, f"{ENV_FILE_NAME}.tmp")
        plan = replace(
            plan,
            directory=instance.path,
            unsaved=unsaved,
            branch=current_branch(instance.path),
            ignored=tuple(name for name in ignored_files(instance.path) if name not in own),
            trash=trash_path(context.home, instance.id) if unsaved else None,
        )
    if answer is None:
        return plan
    resources, images = answer.result(), last_up.load(context.home, instance).images
    settings = Settings()  # when they cannot be read, that keeps nobody from looking, or --force
    if not now:
        with contextlib.suppress(SandboxError):
            settings = context.settings(None)
    return replace(
        plan,
        resources=resources,
        images=images,
        chown_images=tuple(dict.fromkeys([*(one.image for one in resources.containers), *images])),
        finish_first=() if now else _writers(engine, resources, plan.directory),
        grace=0 if now else round(settings.destroy_grace),
    )


def _writers(engine: Engine, resources: Resources, directory: Path | None) -> tuple[str, ...]:
    """Services of running containers that may write to what is not deleted with the instance.

    Volumes without a name go with their container; a socket holds nothing.
    """
    running = {one.id: one.service for one in resources.containers if one.state not in STOPPED}
    found = set()
    for details in engine.describe(list(running)) if running else ():
        for mount in details.get("Mounts") or ():
            if mount["Type"] == "volume":
                name = mount.get("Name", "")
                outlives = name not in resources.volumes and not _ANONYMOUS.fullmatch(name)
            else:
                source = Path(mount["Source"])
                goes = directory is not None and _lies_in(source, directory)
                outlives = mount["Type"] == "bind" and not goes and not source.is_socket()
            if mount.get("RW") and outlives:
                found.add(running.get(details["Id"], ""))
    return tuple(sorted(found - {""}))


def common_dir_of(main: Path | None) -> Path | None:
    """The repository's shared folder, None when the repository is gone. It may be a bare one."""
    if main is None or not main.is_dir():
        return None
    try:
        found = common_dir(main)
        return found if worktrees(main)[0].path.resolve() == main.resolve() else None
    except SandboxError as error:
        if error.code == "git-failed":
            return None
        raise


def _reason_to_keep(context: Context, instance: Instance) -> str | None:
    """Why the directory stays, None where it goes or is gone. Raises for one that may not go."""
    if instance.created_by != "create":
        return "'create' did not make it"
    if not instance.path.is_dir():
        return None
    worktree = _own_worktree(instance)
    if worktree is None:
        return "it is no longer this instance's worktree"
    others = [one for one in context.registry.read().instances.values() if one.id != instance.id]
    for other in others:
        if _lies_in(instance.path, other.path):
            return f"it lies in the directory of {other.id}"
    if worktree.locked is not None:
        reason = f" ({worktree.locked})" if worktree.locked else ""
        raise SandboxError(
            "git-failed",
            f"{instance.path} is locked by 'git worktree lock'{reason}.",
            hints=(f"git worktree unlock '{instance.path}'", "or keep it: --keep-worktree"),
            details={"path": str(instance.path), "reason": worktree.locked},
        )
    _refuse_foreign(context, instance, others)
    return None


def _refuse_foreign(context: Context, instance: Instance, others: Sequence[Instance]) -> None:
    """Something in the directory is not the worktree's, and not even --force may take it."""
    found = [
        (one.path, f"the directory of {one.id}", f"Destroy or move {one.name} first")
        for one in others
    ]
    own = {context.home.root: "KTRDR_HOME", instance.parent_repo: "its own repository"}
    found += [(path, what, "Move it elsewhere first") for path, what in own.items() if path]
    found = [one for one in found if one[0].is_dir() and _lies_in(one[0], instance.path)]
    found += [(path, "mounted there", f"Umount '{path}'") for path in mounts_in(instance.path)]
    if found:
        path, what, way_out = found[0]
        raise SandboxError(
            "would-lose-work",
            f"{instance.path} cannot be deleted: in it is {path}, {what}.",
            hints=(way_out, "Or keep the directory: --keep-worktree"),
            details={"path": str(instance.path), "inside": [str(one[0]) for one in found]},
        )


def _own_worktree(instance: Instance) -> Worktree | None:
    """Git's entry of a linked worktree of the repository that is not marked as another's.

    Git is asked from both sides: its list alone does not tell of a directory that has become
    something else since, a repository around it or a new one in it.
    """
    main, here = instance.parent_repo, instance.path.resolve()
    if main is None or not main.is_dir() or here == main.resolve():
        return None
    entry = listed(main, here)
    try:
        found = locate(instance.path)
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return None
    if entry is None or found.root.resolve() != here or found.common_dir != common_dir_of(main):
        return None
    marker = env_file.read(instance.env_file) if instance.env_file.is_file() else {}
    return entry if marker.get("SANDBOX_UUID", instance.uuid) == instance.uuid else None


def _lies_in(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def _would_lose_work(directory: Path, unsaved: UnsavedWork) -> SandboxError:
    lines = unsaved.lines()
    shown = lines[:20] + ([f"... and {len(lines) - 20} more"] if len(lines) > 20 else [])
    message = [f"{directory} holds work that is nowhere else:", *(f"  {line}" for line in shown)]
    return SandboxError(
        "would-lose-work",
        "\n".join(message),
        hints=(
            "Commit or stash it, or keep the directory: --keep-worktree",
            "With --force the directory is moved to the trash folder, not deleted.",
        ),
        details={"path": str(directory), **to_json(unsaved)},
    )


# -- the work ------------------------------------------------------------------------------------


def _apply(context: Context, plan: DestroyPlan, progress: LineSink) -> None:
    """All steps, with a last look for work that has appeared since the plan was made."""
    with journal.operation(context.home, plan.instance.id, "destroy", plan) as log:
        log.owing = True
        log.begin("entry removing")
        context.registry.add(plan.instance.with_state("removing"))
        log.begin("containers")
        _remove_from_engine(context, plan, progress)
        if plan.directory is not None:
            if plan.trash is None and (now := unsaved_work(plan.directory)):
                raise _would_lose_work(plan.directory, now)  # even by force
            log.begin("directory renamed")
            try:
                plan.directory.rename(plan.pending_delete)
                sync_folder(plan.directory.parent)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise cannot_write(plan.directory, error) from error
        _finish(context, plan, log.begin)
        log.owing = False


def recover_destroy(context: Context, plan: DestroyPlan, begun: Collection[str]) -> str:
    """Call a killed destroy off, or finish one that touched the directory; says which.

    When it is called off, containers and volumes may be gone.
    """
    instance = plan.instance
    if instance.path.is_dir() and _REVOCABLE.issuperset(begun):
        found = context.registered(instance.id, uuid=instance.uuid)
        if found is not None:
            context.registry.add(found.with_state("created"))
        return (
            "its directory was untouched, so the instance stays; 'up' makes its containers again."
        )
    wait_for_git_on(str(instance.path))
    _remove_from_engine(context, plan, lambda _: None)
    _finish(context, plan, lambda _: None)
    return "it has been finished."


def _remove_from_engine(context: Context, plan: DestroyPlan, progress: LineSink) -> None:
    """At once, but for what would tear something that stays: the rest has nothing to save."""
    if plan.without_docker:
        return
    engine = context.engine(plan.instance.engine)
    found = engine.resources(plan.instance.uuid)
    writers = [one for one in found.containers if one.service in plan.finish_first]
    if writers:
        stop_as_compose(context, plan.instance, writers, grace=plan.grace, progress=progress)
    remove_resources(engine, plan.instance.id, plan.instance.uuid, found, grace=0)


def _finish(context: Context, plan: DestroyPlan, begin: Callable[[str], None]) -> None:
    """What comes after the point of no return."""
    instance = plan.instance
    engine = None if plan.without_docker else context.engine(instance.engine)
    begin("directory deleted")
    _delete_directory(plan, engine)
    begin("marker removed")
    if plan.directory is None:
        env_file.remove(instance.env_file, uuid=instance.uuid)
    begin("worktree forgotten")
    if plan.common_dir is not None and plan.common_dir.is_dir():
        with locked_repository(context, plan.common_dir):
            if instance.created_by == "create" and not instance.path.exists():
                forget_worktree(plan.main, plan.common_dir, instance.path)
            show_env_file(plan.main, plan.common_dir)
    begin("image tags")
    if engine is not None:
        for image in plan.images:
            engine.untag(image)
    begin("entry dropped")
    shutil.rmtree(context.home.state_of(instance.id), ignore_errors=True)
    context.registry.drop(instance)


def _delete_directory(plan: DestroyPlan, engine: Engine | None) -> None:
    """Move it to the trash first where it holds work; on another disk that is a copy."""
    pending, uuid, images = plan.pending_delete, plan.instance.uuid, plan.chown_images

    def make_readable() -> None:
        if engine is not None:
            give_to_user(pending, engine=engine, images=images, uuid=uuid)

    if plan.trash is not None:
        move_to_trash(pending, plan.trash, make_readable=make_readable)
        if plan.common_dir is not None and plan.trash.is_dir():
            keep_git_data(plan.common_dir, plan.trash)
    delete(pending, engine=engine, images=images, uuid=uuid)
