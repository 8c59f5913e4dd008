"""The git-ignored files that a new worktree gets: as `.worktreeinclude` and `copy_files` say."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ktrdr_sandbox import env_file, naming, own_commands
from ktrdr_sandbox.commands.compose_project import DEFAULT_WORKERS
from ktrdr_sandbox.commands.construction import Construction, construct, repository_held
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.environment import current_address
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.ignored import Copies, copy_into, include_patterns, included, size_of
from ktrdr_sandbox.git.repository import Repository, locate
from ktrdr_sandbox.git.worktree import Addition, choose_checkout, plan_addition, refuse_listed
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import ID_PREFIX, CreatedBy, Instance, Protocol
from ktrdr_sandbox.slots.allocation import Allocation, BusyPort, allocate
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.slots.probe import busy_ports
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.registry_file import Registry

EXTRA_PORTS: Final = 4
"""So many of a slot's extra ports must be free: KTRDR's own stack takes one, for Jaeger's OTLP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What create or init made. `skipped` are slots passed over because a port was busy; `copies`
    the ignored files that the new worktree got."""

    instance: Instance
    branch: str | None
    new_branch: bool
    ports: Mapping[str, int]
    skipped: Mapping[int, Sequence[BusyPort]]
    copies: Copies = field(default_factory=Copies)


def create(context: Context, *, name: str, branch: str | None, slot: int | None) -> Creation:
    """A new worktree beside the repository's main one, as an instance.

    Raises `usage`, `not-a-repository`, `directory-exists`, `instance-exists`, `slot-taken`,
    `port-conflict`, `slots-exhausted`, `worktree-conflict`, `worktree-failed`, `cannot-write`.
    Whatever it raises, nothing of the attempt remains.
    """
    identity = naming.instance_id(name)
    repository = _located(context)
    path = repository.main.parent / identity
    with _alone(context, identity, f"create {identity.removeprefix(ID_PREFIX)}"):
        _refuse_unfinished(context, identity)
        _refuse_existing(context, path)
        # Before git is asked, which knows nothing of instances and would have the worktree removed.
        _refuse_registered(context.registry.read(), identity)
        with repository_held(context, repository.common_dir):
            checkout = choose_checkout(repository, name=naming.checked_name(name), branch=branch)
            refuse_listed(repository, path)
            blank = _blank(identity, path, created_by="create", parent=repository.main)
            addition = plan_addition(repository, path, checkout, blank.uuid)
            made, allocation, copies = _make(
                context, blank, repository, slot=slot, addition=addition
            )
    return Creation(
        instance=made,
        branch=checkout.branch,
        new_branch=checkout.creates_branch,
        ports=get_ports(made.slot),
        skipped=allocation.skipped,
        copies=copies,
    )


def init(context: Context, *, slot: int | None) -> Creation:
    """Make the current checkout an instance; nothing of it is ever deleted later.

    It is called after its directory, with a number behind where another directory's instance is.

    Raises `already-initialised`, `not-a-repository`, `slot-taken`, `port-conflict`, ...
    """
    from ktrdr_sandbox.commands.compose_files import is_ktrdr_checkout
    from ktrdr_sandbox.commands.relocated import adopt

    repository = _located(context)
    if not is_ktrdr_checkout(repository.root):
        raise SandboxError(
            "not-a-repository",
            f"{repository.root} is not a ktrdr repository: it has no Compose file and its "
            "pyproject.toml does not name ktrdr.",
            hints=("Run it in your KTRDR checkout.",),
            details={"path": str(repository.root)},
        )
    _settle_here(context, repository.root)
    kept = adopt(context, repository)
    if kept is not None:
        return Creation(
            instance=kept, branch=None, new_branch=False, ports=get_ports(kept.slot), skipped={}
        )
    _refuse_initialised(context, repository.root)
    parent = repository.main if repository.is_linked else None
    with (
        _own_name(context, repository.root) as identity,
        repository_held(context, repository.common_dir),
    ):
        _refuse_initialised(context, repository.root)
        blank = _blank(identity, repository.root, created_by="init", parent=parent)
        made, allocation, _ = _make(context, blank, repository, slot=slot, addition=None)
    _tell_of_number(context, made)
    return Creation(
        instance=made,
        branch=None,
        new_branch=False,
        ports=get_ports(made.slot),
        skipped=allocation.skipped,
    )


def _located(context: Context) -> Repository:
    """The repository here. What a killed command left of a worktree may be what git fails over."""
    try:
        return locate(context.cwd)
    except SandboxError as error:
        if error.code != "git-failed" or not journal.pending(context.home):
            raise
    from ktrdr_sandbox.commands.recover import settle_all

    settle_all(context)
    return locate(context.cwd)


@dataclass(frozen=True)
class _Blank:
    """An instance before it has a slot."""

    identity: str
    uuid: str
    path: Path
    created_by: CreatedBy
    parent: Path | None


def _blank(identity: str, path: Path, *, created_by: CreatedBy, parent: Path | None) -> _Blank:
    return _Blank(identity, str(uuid.uuid4()), path, created_by, parent)


@contextmanager
def _alone(context: Context, identity: str, purpose: str) -> Iterator[None]:
    """Hold the lock of an instance to be, and end what a killed command left of one so called."""
    lock = context.home.instance_lock(identity)
    with hold(lock, purpose=purpose, patience=context.lock_patience, tell=context.tell):
        if journal.exists(context.home, identity):
            from ktrdr_sandbox.commands.recover import settle_held  # seldom needed

            settle_held(context, identity)
        yield


def _settle_here(context: Context, root: Path) -> None:
    """A killed init of this directory must not look like a finished one, however it was called."""
    from ktrdr_sandbox.commands.recover import settle

    settle(context, naming.derive_instance_id(root))
    for pending in journal.pending(context.home):
        if pending.operation == "init" and pending.facts.get("path") == str(root):
            settle(context, pending.instance_id)


@contextmanager
def _own_name(context: Context, root: Path) -> Iterator[str]:
    """The id for a checkout, with its lock held: the first that no other directory's instance has.

    Of those that are known to be others' the lock is not asked for: an `up` may hold it for long.
    """
    derived = naming.derive_instance_id(root)
    for identity in naming.alternatives(derived):
        if _is_anothers(context, identity, root):
            continue
        with _alone(context, identity, f"init {identity.removeprefix(ID_PREFIX)}"):
            if _is_anothers(context, identity, root):  # it was being made meanwhile
                continue
            yield identity
            return


def _is_anothers(context: Context, identity: str, root: Path) -> bool:
    entry = context.registry.read().instances.get(identity)
    return entry is not None and entry.path != root


def _tell_of_number(context: Context, made: Instance) -> None:
    """Why it is not called as its directory is."""
    other = context.registry.read().instances.get(naming.derive_instance_id(made.path))
    if other is not None and other.id != made.id:
        context.tell(f"{other.id} is the instance in {other.path}, so this one is {made.id}.")


def _make(
    context: Context,
    blank: _Blank,
    repository: Repository,
    *,
    slot: int | None,
    addition: Addition | None,
) -> tuple[Instance, Allocation, Copies]:
    plan = Construction(
        instance_id=blank.identity,
        uuid=blank.uuid,
        path=blank.path,
        main=repository.main,
        common_dir=repository.common_dir,
        addition=addition,
    )
    allocations: list[Allocation] = []
    copies: list[Copies] = []

    def reserve() -> Instance:
        instance, allocation = _reserve(context, blank, slot)
        allocations.append(allocation)
        return instance

    def copy() -> None:
        if addition is not None:  # what is there already needs nothing
            copies.append(copy_ignored_files(context, repository.main, blank.path))

    with journal.operation(context.home, blank.identity, blank.created_by, plan.facts()) as log:
        made = construct(context, plan, log, reserve, copy)
    return made, allocations[0], copies[0] if copies else Copies()


def _refuse_unfinished(context: Context, identity: str) -> None:
    """What an earlier create left when it was killed, which only destroy may clear away."""
    earlier = context.registry.read().instances.get(identity)
    if earlier is not None and earlier.state != "created":
        raise SandboxError(
            "instance-exists",
            f"{identity} is being made or removed, or a command on it was killed half-way.",
            hints=(
                f"If none is running, clear it away: {own_commands.on(earlier.name, 'destroy')}",
            ),
            details={"instance": identity, "state": earlier.state, "path": str(earlier.path)},
        )


def _refuse_existing(context: Context, path: Path) -> None:
    if not os.path.lexists(path):
        return
    owner = next((i for i in context.registry.read().instances.values() if i.path == path), None)
    if owner is not None:
        message = f"The directory {path} exists already: it is the instance {owner.name}."
        start = own_commands.on(owner.name, "up")
        hints = [f"Start it with '{start}', or use another name."]
    else:
        message = f"The directory {path} exists already."
        hints = [
            "Use another name, or remove that directory if nothing in it is needed.",
            "An existing checkout becomes an instance by 'ktrdr-sandbox init' in it.",
        ]
    raise SandboxError("directory-exists", message, hints=hints, details={"path": str(path)})


def _refuse_initialised(context: Context, root: Path) -> None:
    registered = [i for i in context.registry.read().instances.values() if i.path == root]
    marker = env_file.find(root)
    if registered or (marker is not None and marker.parent == root):
        identity = (
            registered[0].id
            if registered
            else env_file.read(root / ".env.sandbox").get("INSTANCE_ID", "?")
        )
        raise SandboxError(
            "already-initialised",
            f"{root} is already initialised as instance {identity}.",
            hints=("Run 'ktrdr-sandbox up' to start it.",),
            details={"path": str(root), "instance": identity},
        )


def _reserve(context: Context, blank: _Blank, wanted: int | None) -> tuple[Instance, Allocation]:
    """Take a slot in the registry. One that a killed create holds is free once that is ended."""
    try:
        return _take_slot(context, blank, wanted)
    except SandboxError as error:
        if error.code not in ("slots-exhausted", "slot-taken") or not _unfinished(context, blank):
            raise
    from ktrdr_sandbox.commands.recover import settle_all

    settle_all(context)
    return _take_slot(context, blank, wanted)


def _unfinished(context: Context, blank: _Blank) -> bool:
    others = (one.instance_id for one in journal.pending(context.home))
    return any(other != blank.identity for other in others)


def _take_slot(context: Context, blank: _Blank, wanted: int | None) -> tuple[Instance, Allocation]:
    bind = context.settings(blank.parent or blank.path).bind_address

    def reserve(registry: Registry) -> tuple[Registry, tuple[Instance, Allocation]]:
        _refuse_registered(registry, blank.identity)
        allocation = allocate(
            taken=registry.taken_slots(), wanted=wanted, busy=lambda slot: busy_in_slot(slot, bind)
        )
        instance = _instance(context, blank, allocation.slot)
        return registry.with_instance(instance), (instance, allocation)

    return context.registry.update(reserve)


def _refuse_registered(registry: Registry, identity: str) -> None:
    other = registry.instances.get(identity)
    if other is not None:
        end = own_commands.on(other.name, "destroy")
        raise SandboxError(
            "instance-exists",
            f"The instance {other.id} is registered already, at {other.path}.",
            hints=(f"Use another name, or end that one first: '{end}'.",),
            details={"instance": other.id, "path": str(other.path)},
        )


def busy_in_slot(slot: int, bind_address: str) -> list[BusyPort]:
    """Conflicts among the ports that a KTRDR stack publishes, with the first few of the extra ones.

    Docker is not asked here. All that the checkout's own file adds is known, and checked, at `up`.
    """
    numbers = {
        *get_ports(slot).values(),
        *worker_ports(slot, DEFAULT_WORKERS),
        *extra_ports(slot)[:EXTRA_PORTS],
    }
    wanted: list[tuple[int, Protocol]] = [(port, "tcp") for port in sorted(numbers)]
    return busy_ports(wanted, address=bind_address)


def _instance(context: Context, blank: _Blank, slot: int) -> Instance:
    return Instance(
        id=blank.identity,
        uuid=blank.uuid,
        slot=slot,
        path=blank.path,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        is_worktree=blank.parent is not None,
        parent_repo=blank.parent,
        state="creating",
        created_by=blank.created_by,
        engine=current_address(context.environment),
    )


MANY: Final = 1000
MEGABYTE: Final = 1000 * 1000
MUCH: Final = 100 * MEGABYTE
"""From here on, files and bytes, it is told before it is done: a pattern may match too much."""


def copy_ignored_files(context: Context, main: Path, worktree: Path) -> Copies:
    """Both are read from the main worktree, where the files are, and not from the new branch:
    whoever wrote that shall not choose what it gets. The setting's patterns come last, so that it
    can take back (`!name`) what the file says.

    Raises `bad-settings`, `git-failed`, `cannot-write`.
    """
    patterns = (*include_patterns(main), *context.settings(main).copy_files)
    names = included(main, patterns)
    size = size_of(main, names)
    if len(names) > MANY or size > MUCH:
        context.tell(
            f"Copying {len(names)} ignored files ({size / MEGABYTE:.0f} MB) from {main}, as "
            ".worktreeinclude or copy_files says."
        )
    return copy_into(main, worktree, names)
