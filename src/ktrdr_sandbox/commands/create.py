"""create and init: plan an instance, then make it, each step with its undo."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from ktrdr_sandbox import env_file, naming, own_commands
from ktrdr_sandbox.commands.compose_files import is_ktrdr_checkout
from ktrdr_sandbox.commands.compose_project import DEFAULT_WORKERS, write_env_file
from ktrdr_sandbox.commands.context import (
    Context,
    locked_name,
    locked_repository,
    recover,
    recover_all,
)
from ktrdr_sandbox.commands.relocated import reattach
from ktrdr_sandbox.commands.trash import move_to_trash, trash_path
from ktrdr_sandbox.docker.environment import current_address
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git import ignored
from ktrdr_sandbox.git.repository import Repository, locate
from ktrdr_sandbox.git.worktree import (
    Addition,
    Checkout,
    add_worktree,
    choose_checkout,
    plan_addition,
    refuse_listed,
    take_back_worktree,
)
from ktrdr_sandbox.models import ID_PREFIX, Instance, Protocol
from ktrdr_sandbox.slots.allocation import Allocation, BusyPort, allocate
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.slots.probe import busy_ports
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.registry import Registry

EXTRA_PORTS: Final = 4  # of a slot's must be free: KTRDR's own stack takes one, for Jaeger's OTLP

# More ignored files or megabytes are told before they are copied: a pattern may match too much.
MANY: Final = 1000
MUCH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePlan:
    """What create or init will make, or has. `worktree` is None where the directory is there.

    `fixed_slot` tells that the user chose the slot; `skipped` are slots passed over because a port
    was busy; `copies` the ignored files that the new worktree got.
    """

    instance: Instance
    main: Path
    common_dir: Path
    worktree: Addition | None = None
    fixed_slot: bool = False
    skipped: Mapping[int, tuple[BusyPort, ...]] = field(default_factory=dict)
    copies: ignored.Copies = field(default_factory=ignored.Copies)

    @property
    def branch(self) -> str | None:
        return self.worktree.checkout.branch if self.worktree else None

    @property
    def new_branch(self) -> bool:
        return self.worktree is not None and self.worktree.checkout.creates_branch

    @property
    def ports(self) -> Mapping[str, int]:
        return get_ports(self.instance.slot)


def create(
    context: Context, *, name: str, branch: str | None, slot: int | None, dry_run: bool = False
) -> CreatePlan:
    """A new worktree beside the repository's main one, as an instance.

    Raises `usage`, `not-a-repository`, `directory-exists`, `instance-exists`, `slot-taken`,
    `port-conflict`, `slots-exhausted`, `worktree-conflict`, `worktree-failed`, `cannot-write`.
    Whatever it raises, nothing of the attempt remains.
    """
    identity = naming.instance_id(name)
    repository = _locate(context)
    path = repository.main.parent / identity
    with (
        locked_name(context, identity, purpose=f"create {name}"),
        locked_repository(context, repository.common_dir),
    ):
        # Before git is asked, which knows nothing of instances and would have the worktree removed.
        _refuse_in_the_way(context, identity, path)
        checkout = choose_checkout(repository, name=naming.checked_name(name), branch=branch)
        refuse_listed(repository, path)
        plan = _plan(context, repository, identity, path, slot=slot, checkout=checkout)
        return plan if dry_run else _apply(context, plan)


def init(context: Context, *, slot: int | None, dry_run: bool = False) -> CreatePlan:
    """Make the current checkout an instance; nothing of it is ever deleted later.

    It is called after its directory, with a number behind where another directory's instance is.

    Raises `already-initialised`, `not-a-repository`, `slot-taken`, `port-conflict`, ...
    """
    repository = _locate(context)
    root = repository.root
    if not is_ktrdr_checkout(root):
        raise SandboxError(
            "not-a-repository",
            f"{root} is not a ktrdr repository: it has no Compose file and its "
            "pyproject.toml does not name ktrdr.",
            hints=("Run it in your KTRDR checkout.",),
            details={"path": str(root)},
        )
    # A killed init of this directory must not look like a finished one, however it was called.
    recover(context, naming.derive_instance_id(root))
    for pending in journal.pending(context.home):
        if pending.operation == "init" and pending.path == str(root):
            recover(context, pending.instance_id)
    kept = reattach(context, repository, dry_run=dry_run)
    if kept is not None:
        return CreatePlan(instance=kept, main=repository.main, common_dir=repository.common_dir)
    _refuse_initialised(context, root)
    with (
        _own_name(context, root) as identity,
        locked_repository(context, repository.common_dir),
    ):
        _refuse_initialised(context, root)
        plan = _plan(context, repository, identity, root, slot=slot)
        made = plan if dry_run else _apply(context, plan)
    other = context.registered(naming.derive_instance_id(root))
    if other is not None and other.path != root:
        context.tell(f"{other.id} is the instance in {other.path}, so this one is {identity}.")
    return made


# -- the plan ------------------------------------------------------------------------------------


def _locate(context: Context) -> Repository:
    """The repository here. What a killed command left of a worktree may be what git fails over."""
    try:
        return locate(context.cwd)
    except SandboxError as error:
        if error.code != "git-failed" or not journal.pending(context.home):
            raise
    recover_all(context)
    return locate(context.cwd)


def _plan(
    context: Context,
    repository: Repository,
    identity: str,
    path: Path,
    *,
    slot: int | None,
    checkout: Checkout | None = None,
) -> CreatePlan:
    """With a free slot, or the wanted one if it is; without a checkout the directory is there."""
    main = repository.main
    try:
        found = free_slot(context, context.registry.read(), main, wanted=slot)
    except SandboxError as error:
        if error.code not in ("slots-exhausted", "slot-taken"):
            raise
        recover_all(context)  # a slot that a killed create holds is free then
        found = free_slot(context, context.registry.read(), main, wanted=slot)
    is_worktree = checkout is not None or repository.is_linked
    instance = Instance(
        id=identity,
        uuid=str(uuid.uuid4()),
        slot=found.slot,
        path=path,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        is_worktree=is_worktree,
        parent_repo=main if is_worktree else None,
        state="creating",
        created_by="create" if checkout else "init",
        engine=current_address(context.environment),
    )
    return CreatePlan(
        instance=instance,
        main=main,
        common_dir=repository.common_dir,
        worktree=plan_addition(repository, path, checkout, instance.uuid) if checkout else None,
        fixed_slot=slot is not None,
        skipped=found.skipped,
    )


def free_slot(
    context: Context, registry: Registry, checkout: Path, *, wanted: int | None, **hint: str
) -> Allocation:
    """Find a slot, or check the wanted one, as `allocate` does, by the checkout's settings."""
    bind, taken = context.settings(checkout).bind_address, registry.taken_slots()
    return allocate(taken=taken, wanted=wanted, busy=lambda slot: busy_in_slot(slot, bind), **hint)


def busy_in_slot(slot: int, bind_address: str) -> list[BusyPort]:
    """Conflicts among the ports that a KTRDR stack publishes, with the first few of the extra ones.

    Docker is not asked here. All that the checkout's own file adds is known, and checked, at `up`.
    """
    named = {*get_ports(slot).values(), *worker_ports(slot, DEFAULT_WORKERS)}
    ports = sorted(named.union(extra_ports(slot)[:EXTRA_PORTS]))
    wanted: list[tuple[int, Protocol]] = [(port, "tcp") for port in ports]
    return busy_ports(wanted, address=bind_address)


@contextmanager
def _own_name(context: Context, root: Path) -> Iterator[str]:
    """The id for a checkout, with its lock held: the first that no other directory's instance has.

    Of those that are known to be others' the lock is not asked for: an `up` may hold it for long.
    """

    def is_others(identity: str) -> bool:
        entry = context.registered(identity)
        return entry is not None and entry.path != root

    for identity in naming.alternatives(naming.derive_instance_id(root)):
        if is_others(identity):
            continue
        with locked_name(context, identity, purpose=f"init {identity.removeprefix(ID_PREFIX)}"):
            if not is_others(identity):  # or it was being made meanwhile
                yield identity
                return


def _refuse_in_the_way(context: Context, identity: str, path: Path) -> None:
    registry = context.registry.read()
    earlier = registry.instances.get(identity)
    if os.path.lexists(path) and (earlier is None or earlier.state == "created"):
        owner = next((one for one in registry.instances.values() if one.path == path), None)
        message = f"The directory {path} exists already."
        hints = [
            "Use another name, or remove that directory if nothing in it is needed.",
            "An existing checkout becomes an instance by 'ktrdr-sandbox init' in it.",
        ]
        if owner is not None:
            message = f"The directory {path} exists already: it is the instance {owner.name}."
            hints = [f"Start it with '{own_commands.on(owner.name, 'up')}', or use another name."]
        raise SandboxError("directory-exists", message, hints=hints, details={"path": str(path)})
    _refuse_registered(registry, identity)


def _refuse_registered(registry: Registry, identity: str) -> None:
    other = registry.instances.get(identity)
    if other is None:
        return
    end = own_commands.on(other.name, "destroy")
    message = f"The instance {other.id} is registered already, at {other.path}."
    hint = f"Use another name, or end that one first: '{end}'."
    if other.state != "created":  # only destroy may clear it away
        message = f"{identity} is being made or removed, or a command on it was killed half-way."
        hint = f"If none is running, clear it away: {end}"
    details = {"instance": other.id, "state": other.state, "path": str(other.path)}
    raise SandboxError("instance-exists", message, hints=(hint,), details=details)


def _refuse_initialised(context: Context, root: Path) -> None:
    registered = [one.id for one in context.registry.read().instances.values() if one.path == root]
    marker = env_file.find(root)
    if marker is not None and marker.parent == root and not registered:
        registered = [env_file.read(marker).get("INSTANCE_ID", "?")]
    if registered:
        raise SandboxError(
            "already-initialised",
            f"{root} is already initialised as instance {registered[0]}.",
            hints=("Run 'ktrdr-sandbox up' to start it.",),
            details={"path": str(root), "instance": registered[0]},
        )


# -- the work ------------------------------------------------------------------------------------


def _apply(context: Context, plan: CreatePlan) -> CreatePlan:
    """Do all steps; nothing remains of them when one fails. Needs the repository's lock."""
    made, copies = plan.instance, ignored.Copies()
    with (
        journal.operation(context.home, made.id, made.created_by, plan) as log,
        log.undoing(partial(undo_step, context, plan)),
    ):
        log.begin("slot")
        made = context.registry.update(partial(_reserve, context, plan))
        if plan.worktree is not None:
            log.begin("worktree")
            if warning := add_worktree(plan.worktree):
                context.tell(warning)
        log.begin("exclude")
        if not ignored.is_hidden(made.path):
            ignored.hide_env_file(plan.common_dir)
        log.begin("marker")
        write_env_file(context, made)
        if plan.worktree is not None:  # what is there already needs nothing
            log.begin("copies")
            copies = _copy_ignored_files(context, plan.main, made.path)
        log.begin("entry")
        made = replace(made, state="created", inode=made.path.stat().st_ino)
        context.registry.add(made)
    return replace(plan, instance=made, copies=copies)


def _reserve(context: Context, plan: CreatePlan, registry: Registry) -> tuple[Registry, Instance]:
    """Take the planned slot in the registry, or another free one where somebody was quicker."""
    made = plan.instance
    _refuse_registered(registry, made.id)
    if made.slot in registry.taken_slots():
        wanted = made.slot if plan.fixed_slot else None
        made = replace(made, slot=free_slot(context, registry, plan.main, wanted=wanted).slot)
    return registry.with_instance(made), made


def undo_step(context: Context, plan: CreatePlan, name: str) -> None:
    """Take a step back, any number of times, whether it was done wholly, in part or not at all.

    The entry goes with its slot, the last thing to be given back; the copies are ignored by git, so
    nobody's work, and go with their worktree.
    """
    instance = plan.instance

    def keep(directory: Path) -> None:
        trash = trash_path(context.home, instance.id)
        move_to_trash(directory, trash)
        context.tell(f"{directory} held files that are not its branch's; they are kept in {trash}.")

    if name == "slot":
        context.registry.drop(instance)
        shutil.rmtree(context.home.state_of(instance.id), ignore_errors=True)
    elif name == "worktree" and plan.worktree is not None:
        take_back_worktree(plan.worktree, save=keep)
    elif name == "exclude":
        ignored.show_env_file(plan.main, plan.common_dir)
    elif name == "marker":
        env_file.remove(instance.env_file, uuid=instance.uuid)


def _copy_ignored_files(context: Context, main: Path, worktree: Path) -> ignored.Copies:
    """What `.worktreeinclude` and `copy_files` name. `bad-settings`, `git-failed`, `cannot-write`.

    Both are read from the main worktree, where the files are, and not from the new branch: whoever
    wrote that shall not choose what it gets. The setting's patterns come last, so that it can take
    back (`!name`) what the file says.
    """
    names = ignored.included(
        main, (*ignored.include_patterns(main), *context.settings(main).copy_files)
    )
    megabytes = ignored.size_of(main, names) / 1e6
    if len(names) > MANY or megabytes > MUCH:
        context.tell(
            f"Copying {len(names)} ignored files ({megabytes:.0f} MB) from {main}, as "
            ".worktreeinclude or copy_files says."
        )
    return ignored.copy_into(main, worktree, names)
