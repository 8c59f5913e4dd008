"""create and init: slot, worktree, `.env.sandbox`, registry entry; all of it or nothing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ktrdr_sandbox import naming, own_commands
from ktrdr_sandbox.engine.address import current_address
from ktrdr_sandbox.env_file import reader
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import journal
from ktrdr_sandbox.lifecycle.construction import Construction, construct, repository_held
from ktrdr_sandbox.lifecycle.copies import copy_ignored_files
from ktrdr_sandbox.lifecycle.env_files import DEFAULT_WORKERS
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import ID_PREFIX, CreatedBy, Instance, Protocol
from ktrdr_sandbox.registry.schema import Registry
from ktrdr_sandbox.slots.allocation import Allocation, BusyPort, allocate
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.slots.probe import busy_ports
from ktrdr_sandbox.worktrees.addition import Addition, plan_addition
from ktrdr_sandbox.worktrees.checkout import choose_checkout, refuse_listed
from ktrdr_sandbox.worktrees.copying import Copies
from ktrdr_sandbox.worktrees.repository import Repository, locate

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


def create(place: Workplace, *, name: str, branch: str | None, slot: int | None) -> Creation:
    """A new worktree beside the repository's main one, as an instance.

    Raises `usage`, `not-a-repository`, `directory-exists`, `instance-exists`, `slot-taken`,
    `port-conflict`, `slots-exhausted`, `worktree-conflict`, `worktree-failed`, `cannot-write`.
    Whatever it raises, nothing of the attempt remains.
    """
    identity = naming.instance_id(name)
    repository = _located(place)
    path = repository.main.parent / identity
    with _alone(place, identity, f"create {identity.removeprefix(ID_PREFIX)}"):
        _refuse_unfinished(place, identity)
        _refuse_existing(place, path)
        # Before git is asked, which knows nothing of instances and would have the worktree removed.
        _refuse_registered(place.registry.read(), identity)
        with repository_held(place, repository.common_dir):
            checkout = choose_checkout(repository, name=naming.checked_name(name), branch=branch)
            refuse_listed(repository, path)
            blank = _blank(identity, path, created_by="create", parent=repository.main)
            addition = plan_addition(repository, path, checkout, blank.uuid)
            made, allocation, copies = _make(place, blank, repository, slot=slot, addition=addition)
    return Creation(
        instance=made,
        branch=checkout.branch,
        new_branch=checkout.creates_branch,
        ports=get_ports(made.slot),
        skipped=allocation.skipped,
        copies=copies,
    )


def init(place: Workplace, *, slot: int | None) -> Creation:
    """Make the current checkout an instance; nothing of it is ever deleted later.

    It is called after its directory, with a number behind where another directory's instance is.

    Raises `already-initialised`, `not-a-repository`, `slot-taken`, `port-conflict`, ...
    """
    from ktrdr_sandbox.lifecycle.checkout import is_ktrdr_checkout
    from ktrdr_sandbox.lifecycle.recognition import adopt

    repository = _located(place)
    if not is_ktrdr_checkout(repository.root):
        raise SandboxError(
            "not-a-repository",
            f"{repository.root} is not a ktrdr repository: it has no Compose file and its "
            "pyproject.toml does not name ktrdr.",
            hints=("Run it in your KTRDR checkout.",),
            details={"path": str(repository.root)},
        )
    _settle_here(place, repository.root)
    kept = adopt(place, repository)
    if kept is not None:
        return Creation(
            instance=kept, branch=None, new_branch=False, ports=get_ports(kept.slot), skipped={}
        )
    _refuse_initialised(place, repository.root)
    parent = repository.main if repository.is_linked else None
    with (
        _own_name(place, repository.root) as identity,
        repository_held(place, repository.common_dir),
    ):
        _refuse_initialised(place, repository.root)
        blank = _blank(identity, repository.root, created_by="init", parent=parent)
        made, allocation, _ = _make(place, blank, repository, slot=slot, addition=None)
    _tell_of_number(place, made)
    return Creation(
        instance=made,
        branch=None,
        new_branch=False,
        ports=get_ports(made.slot),
        skipped=allocation.skipped,
    )


def _located(place: Workplace) -> Repository:
    """The repository here. What a killed command left of a worktree may be what git fails over."""
    try:
        return locate(place.cwd)
    except SandboxError as error:
        if error.code != "git-failed" or not journal.pending(place.home):
            raise
    from ktrdr_sandbox.lifecycle.recovery import settle_all

    settle_all(place)
    return locate(place.cwd)


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
def _alone(place: Workplace, identity: str, purpose: str) -> Iterator[None]:
    """Hold the lock of an instance to be, and end what a killed command left of one so called."""
    lock = place.home.instance_lock(identity)
    with hold(lock, purpose=purpose, patience=place.lock_patience, tell=place.tell):
        if journal.exists(place.home, identity):
            from ktrdr_sandbox.lifecycle.recovery import settle_held  # seldom needed

            settle_held(place, identity)
        yield


def _settle_here(place: Workplace, root: Path) -> None:
    """A killed init of this directory must not look like a finished one, however it was called."""
    from ktrdr_sandbox.lifecycle.recovery import settle

    settle(place, naming.derive_instance_id(root))
    for pending in journal.pending(place.home):
        if pending.operation == "init" and pending.facts.get("path") == str(root):
            settle(place, pending.instance_id)


@contextmanager
def _own_name(place: Workplace, root: Path) -> Iterator[str]:
    """The id for a checkout, with its lock held: the first that no other directory's instance has.

    Of those that are known to be others' the lock is not asked for: an `up` may hold it for long.
    """
    derived = naming.derive_instance_id(root)
    for identity in naming.alternatives(derived):
        if _is_anothers(place, identity, root):
            continue
        with _alone(place, identity, f"init {identity.removeprefix(ID_PREFIX)}"):
            if _is_anothers(place, identity, root):  # it was being made meanwhile
                continue
            yield identity
            return


def _is_anothers(place: Workplace, identity: str, root: Path) -> bool:
    entry = place.registry.read().instances.get(identity)
    return entry is not None and entry.path != root


def _tell_of_number(place: Workplace, made: Instance) -> None:
    """Why it is not called as its directory is."""
    other = place.registry.read().instances.get(naming.derive_instance_id(made.path))
    if other is not None and other.id != made.id:
        place.tell(f"{other.id} is the instance in {other.path}, so this one is {made.id}.")


def _make(
    place: Workplace,
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
        instance, allocation = _reserve(place, blank, slot)
        allocations.append(allocation)
        return instance

    def copy() -> None:
        if addition is not None:  # what is there already needs nothing
            copies.append(copy_ignored_files(place, repository.main, blank.path))

    with journal.operation(place.home, blank.identity, blank.created_by, plan.facts()) as log:
        made = construct(place, plan, log, reserve, copy)
    return made, allocations[0], copies[0] if copies else Copies()


def _refuse_unfinished(place: Workplace, identity: str) -> None:
    """What an earlier create left when it was killed, which only destroy may clear away."""
    earlier = place.registry.read().instances.get(identity)
    if earlier is not None and earlier.state != "created":
        raise SandboxError(
            "instance-exists",
            f"{identity} is being made or removed, or a command on it was killed half-way.",
            hints=(
                f"If none is running, clear it away: {own_commands.on(earlier.name, 'destroy')}",
            ),
            details={"instance": identity, "state": earlier.state, "path": str(earlier.path)},
        )


def _refuse_existing(place: Workplace, path: Path) -> None:
    if not os.path.lexists(path):
        return
    owner = next((i for i in place.registry.read().instances.values() if i.path == path), None)
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


def _refuse_initialised(place: Workplace, root: Path) -> None:
    registered = [i for i in place.registry.read().instances.values() if i.path == root]
    marker = reader.find(root)
    if registered or (marker is not None and marker.parent == root):
        identity = (
            registered[0].id
            if registered
            else reader.read(root / ".env.sandbox").get("INSTANCE_ID", "?")
        )
        raise SandboxError(
            "already-initialised",
            f"{root} is already initialised as instance {identity}.",
            hints=("Run 'ktrdr-sandbox up' to start it.",),
            details={"path": str(root), "instance": identity},
        )


def _reserve(place: Workplace, blank: _Blank, wanted: int | None) -> tuple[Instance, Allocation]:
    """Take a slot in the registry. One that a killed create holds is free once that is ended."""
    try:
        return _take_slot(place, blank, wanted)
    except SandboxError as error:
        if error.code not in ("slots-exhausted", "slot-taken") or not _unfinished(place, blank):
            raise
    from ktrdr_sandbox.lifecycle.recovery import settle_all

    settle_all(place)
    return _take_slot(place, blank, wanted)


def _unfinished(place: Workplace, blank: _Blank) -> bool:
    others = (one.instance_id for one in journal.pending(place.home))
    return any(other != blank.identity for other in others)


def _take_slot(place: Workplace, blank: _Blank, wanted: int | None) -> tuple[Instance, Allocation]:
    bind = place.settings(blank.parent or blank.path).bind_address

    def reserve(registry: Registry) -> tuple[Registry, tuple[Instance, Allocation]]:
        _refuse_registered(registry, blank.identity)
        allocation = allocate(
            taken=registry.taken_slots(), wanted=wanted, busy=lambda slot: busy_in_slot(slot, bind)
        )
        instance = _instance(place, blank, allocation.slot)
        return registry.with_instance(instance), (instance, allocation)

    return place.registry.update(reserve)


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


def _instance(place: Workplace, blank: _Blank, slot: int) -> Instance:
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
        engine=current_address(place.environment),
    )
