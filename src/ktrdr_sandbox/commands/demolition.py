"""The steps of destroy. Each can be repeated, so that after a kill they are simply gone through.

Until the directory is renamed nothing is lost that `up` cannot make again, except data in volumes;
from then on the rest is finished, whatever happens.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.commands.construction import repository_held, unmark
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.trash import delete, detach, make_removable, move_to_trash
from ktrdr_sandbox.docker.engine import Engine, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import wait_for_git_on
from ktrdr_sandbox.git.ignored import show_env_file
from ktrdr_sandbox.git.repository import common_dir, worktrees
from ktrdr_sandbox.git.unsaved import keep_git_data
from ktrdr_sandbox.git.worktree import forget_worktree
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.state.journal import Journal, Pending

_REVOCABLE: Final = frozenset({"entry removing", "containers", "directory renamed"})
"""Steps whose beginning does not yet mean that the directory is touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demolition:
    """A destruction under way, as the journal keeps it.

    `engine` is None when Docker is not to be asked, for an engine that is gone for good. `deletes`
    tells that the directory goes; `doomed` is what it is called from the moment it is no
    longer the worktree, `trash` where it is kept, None when there is nothing to keep. `images` are
    tags to take away, `tools` images that may serve to give root's files to the user.
    """

    instance_id: str
    uuid: str
    path: Path
    main: Path | None
    common_dir: Path | None
    engine: EngineAddress | None
    made_by_us: bool
    deletes: bool
    doomed: Path
    trash: Path | None
    images: tuple[str, ...]
    tools: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For the journal: JSON-ready values."""
        facts = asdict(self)
        paths = ("path", "main", "common_dir", "doomed", "trash")
        return {**facts, **{k: None if facts[k] is None else str(facts[k]) for k in paths}}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Demolition:
        """The reverse of `facts`. Raises KeyError and TypeError for anything else."""
        paths = ("path", "main", "common_dir", "doomed", "trash")
        values = dict(facts)
        values |= {key: None if facts[key] is None else Path(facts[key]) for key in paths}
        values |= {key: tuple(facts[key]) for key in ("images", "tools")}
        engine = facts["engine"]
        return cls(**{**values, "engine": None if engine is None else EngineAddress(**engine)})


def doomed_place(instance: Instance) -> Path:
    """Beside the directory, so that the rename is one step; hidden, and told apart by the uuid."""
    return instance.path.with_name(f".{instance.id}.removing-{instance.uuid[:8]}")


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


def demolish(
    context: Context, instance: Instance, plan: Demolition, log: Journal, check: Callable[[], None]
) -> None:
    """All steps. `check` raises when unsaved work has appeared since the plan was made."""
    log.owing = True
    with log.step("entry removing"):
        context.registry.add(instance.with_state("removing"))
    with log.step("containers"):
        _remove_from_engine(context, plan)
    if plan.deletes:
        check()
        with log.step("directory renamed"):
            detach(plan.path, plan.doomed)
    _the_rest(context, plan, log.step)
    log.owing = False


def is_irrevocable(plan: Demolition, pending: Pending) -> bool:
    """Whether the directory, or its marker, was touched before the kill, or is gone anyway."""
    if not plan.path.is_dir():
        return True
    return not _REVOCABLE.issuperset(pending.begun)


def call_off(context: Context, plan: Demolition) -> None:
    """The instance stays; its containers and volumes may be gone."""
    found = context.registry.read().instances.get(plan.instance_id)
    if found is not None and found.uuid == plan.uuid:
        context.registry.add(found.with_state("created"))


def finish(context: Context, plan: Demolition) -> None:
    """Go through what comes after the point of no return, once more where need be."""
    wait_for_git_on(str(plan.path))
    _remove_from_engine(context, plan)
    _the_rest(context, plan, lambda _: nullcontext())


def _the_rest(
    context: Context, plan: Demolition, step: Callable[[str], AbstractContextManager[None]]
) -> None:
    engine = None if plan.engine is None else context.engine(plan.engine)
    with step("directory deleted"):
        if plan.trash is not None:
            move_to_trash(
                plan.doomed, plan.trash, make_readable=lambda: _give_to_user(plan, engine)
            )
            if plan.common_dir is not None and plan.trash.is_dir():
                keep_git_data(plan.common_dir, plan.trash)
        delete(plan.doomed, engine=engine, images=plan.tools, uuid=plan.uuid)
    with step("marker removed"):
        if not plan.deletes:
            unmark(plan.path, plan.uuid)
    with step("worktree forgotten"):
        _forget(context, plan)
    with step("image tags"):
        if engine is not None:
            for image in plan.images:
                engine.untag(image)
    with step("entry dropped"):
        shutil.rmtree(context.home.state_of(plan.instance_id), ignore_errors=True)
        found = context.registry.read().instances.get(plan.instance_id)
        if found is not None and found.uuid == plan.uuid:
            context.registry.drop(found)


def _give_to_user(plan: Demolition, engine: Engine | None) -> None:
    if engine is not None:
        make_removable(plan.doomed, engine=engine, images=plan.tools, uuid=plan.uuid)


def _remove_from_engine(context: Context, plan: Demolition) -> None:
    """At once: what is going to be deleted has nothing to save."""
    if plan.engine is not None:
        engine = context.engine(plan.engine)
        remove_resources(engine, plan.instance_id, engine.resources(plan.uuid), plan.uuid, grace=0)


def _forget(context: Context, plan: Demolition) -> None:
    """Git's entry of the worktree, and our lines in its exclude file once nobody needs them."""
    if plan.main is None or plan.common_dir is None or not plan.common_dir.is_dir():
        return
    with repository_held(context, plan.common_dir):
        if plan.made_by_us and not plan.path.exists():
            forget_worktree(plan.main, plan.common_dir, plan.path)
        show_env_file(plan.main, plan.common_dir)


def remove_resources(
    engine: Engine, instance_id: str, doomed: Resources, uuid: str, *, grace: int | None
) -> None:
    """Remove, then ask the engine again. Raises `teardown-incomplete` naming what survived."""
    if not doomed:
        return
    engine.remove(doomed, grace=grace)
    now = engine.resources(uuid)
    survivors = Resources(
        containers=now.containers,
        networks=tuple(name for name in now.networks if name in doomed.networks),
        volumes=tuple(name for name in now.volumes if name in doomed.volumes),
    )
    if survivors:
        raise SandboxError(
            "teardown-incomplete",
            f"Some of {instance_id} could not be removed: {', '.join(survivors.names())}.",
            hints=("Something else may use them: docker network inspect, docker ps --all",),
            details={"left": list(survivors.names())},
        )
