"""create and init: slot, worktree, `.env.sandbox`, registry entry; all of it or nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ktrdr_sandbox import naming
from ktrdr_sandbox.engine.address import current_address
from ktrdr_sandbox.env_file import reader, schema, writer
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.checkout import is_ktrdr_checkout
from ktrdr_sandbox.lifecycle.shared_folders import shared_variables
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import CreatedBy, Instance
from ktrdr_sandbox.registry.schema import Registry
from ktrdr_sandbox.slots.allocation import Allocation, BusyPort, allocate
from ktrdr_sandbox.slots.port_map import get_ports, worker_ports
from ktrdr_sandbox.slots.probe import Protocol, busy_ports
from ktrdr_sandbox.worktrees.operations import (
    added_worktree,
    choose_checkout,
    excluded_env_file,
)
from ktrdr_sandbox.worktrees.repository import Repository, locate

DEFAULT_WORKERS = 4
"""2 backtest and 2 training workers: the document's `.env.sandbox`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What create or init made. `skipped` are slots passed over because a port was busy."""

    instance: Instance
    branch: str | None
    new_branch: bool
    ports: Mapping[str, int]
    skipped: Mapping[int, Sequence[BusyPort]]


def create(place: Workplace, *, name: str, branch: str | None, slot: int | None) -> Creation:
    """A new worktree beside the repository's main one, as an instance.

    Raises `usage`, `not-a-repository`, `directory-exists`, `instance-exists`, `slot-taken`,
    `port-conflict`, `slots-exhausted`, `worktree-conflict`, `worktree-failed`, `cannot-write`.
    Whatever it raises, nothing of the attempt remains.
    """
    identity = naming.instance_id(name)
    repository = locate(place.cwd)
    path = repository.main.parent / identity
    _refuse_unfinished(place, identity)
    _refuse_existing(path)
    checkout = choose_checkout(repository, name=naming.checked_name(name), branch=branch)
    blank = _Blank(identity, path, created_by="create", parent=repository.main)
    with (
        _reserved(place, blank, slot) as (instance, allocation),
        _one_at_a_time(place, repository),
        added_worktree(repository, path, checkout),
        _marked(place, locate(path), instance),
    ):
        place.registry.add(instance.with_state("created"))
    return Creation(
        instance=instance.with_state("created"),
        branch=checkout.branch,
        new_branch=checkout.creates_branch,
        ports=get_ports(instance.slot),
        skipped=allocation.skipped,
    )


def init(place: Workplace, *, slot: int | None) -> Creation:
    """Make the current checkout an instance; nothing of it is ever deleted later.

    Raises `already-initialised`, `not-a-repository`, `slot-taken`, `port-conflict`, ...
    """
    repository = locate(place.cwd)
    if not is_ktrdr_checkout(repository.root):
        raise SandboxError(
            "not-a-repository",
            f"{repository.root} is not a ktrdr repository: it has no Compose file and its "
            "pyproject.toml does not name ktrdr.",
            hints=("Run it in your KTRDR checkout.",),
            details={"path": str(repository.root)},
        )
    _refuse_initialised(place, repository.root)
    blank = _Blank(
        naming.derive_instance_id(repository.root),
        repository.root,
        created_by="init",
        parent=repository.main if repository.is_linked else None,
    )
    with (
        _reserved(place, blank, slot) as (instance, allocation),
        _marked(place, repository, instance),
    ):
        place.registry.add(instance.with_state("created"))
    return Creation(
        instance=instance.with_state("created"),
        branch=None,
        new_branch=False,
        ports=get_ports(instance.slot),
        skipped=allocation.skipped,
    )


@dataclass(frozen=True)
class _Blank:
    """An instance before it has a slot."""

    identity: str
    path: Path
    created_by: CreatedBy
    parent: Path | None


def _refuse_unfinished(place: Workplace, identity: str) -> None:
    """What an earlier create left when it was killed, which only destroy may clear away."""
    earlier = place.registry.read().instances.get(identity)
    if earlier is not None and earlier.state != "created":
        raise SandboxError(
            "instance-exists",
            f"{identity} is being made or removed, or a command on it was killed half-way.",
            hints=(f"If none is running, clear it away: ktrdr-sandbox destroy {earlier.name}",),
            details={"instance": identity, "state": earlier.state, "path": str(earlier.path)},
        )


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise SandboxError(
            "directory-exists",
            f"The directory {path} exists already.",
            hints=(
                "Use another name, or remove that directory if nothing in it is needed.",
                "An existing checkout becomes an instance by 'ktrdr-sandbox init' in it.",
            ),
            details={"path": str(path)},
        )


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


@contextmanager
def _reserved(
    place: Workplace, blank: _Blank, wanted: int | None
) -> Iterator[tuple[Instance, Allocation]]:
    """Hold a slot in the registry for the block; given back when the block fails."""
    bind = place.settings(blank.parent or blank.path).bind_address

    def reserve(registry: Registry) -> tuple[Registry, tuple[Instance, Allocation]]:
        _refuse_registered(registry, blank)
        allocation = allocate(
            taken=registry.taken_slots(), wanted=wanted, busy=lambda slot: _busy(slot, bind)
        )
        instance = _instance(place, blank, allocation.slot)
        return registry.with_instance(instance), (instance, allocation)

    instance, allocation = place.registry.update(reserve)
    try:
        yield instance, allocation
    except BaseException:
        place.registry.drop(instance)
        shutil.rmtree(place.home.state_of(instance.id), ignore_errors=True)
        raise


def _refuse_registered(registry: Registry, blank: _Blank) -> None:
    other = registry.instances.get(blank.identity)
    if other is not None:
        raise SandboxError(
            "instance-exists",
            f"The instance {other.id} is registered already, at {other.path}.",
            hints=(
                f"Use another name, or end that one first: 'ktrdr-sandbox destroy {other.name}'.",
            ),
            details={"instance": other.id, "path": str(other.path)},
        )


def _busy(slot: int, bind_address: str) -> list[BusyPort]:
    """Conflicts among the ports that a KTRDR stack publishes for sure.

    What the checkout's own file adds is known, and checked, at `up`.
    """
    named = get_ports(slot)
    numbers = {*named.values(), *worker_ports(slot, DEFAULT_WORKERS)}
    wanted: list[tuple[int, Protocol]] = [(port, "tcp") for port in sorted(numbers)]
    return busy_ports(wanted, address=bind_address)


def _instance(place: Workplace, blank: _Blank, slot: int) -> Instance:
    return Instance(
        id=blank.identity,
        uuid=str(uuid.uuid4()),
        slot=slot,
        path=blank.path,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        is_worktree=blank.parent is not None,
        parent_repo=blank.parent,
        state="creating",
        created_by=blank.created_by,
        engine=current_address(place.environment),
    )


@contextmanager
def _one_at_a_time(place: Workplace, repository: Repository) -> Iterator[None]:
    """Git's own lock files fail a second `worktree add` at once instead of letting it wait."""
    lock = place.home.repository_lock(repository.common_dir)
    with hold(lock, purpose="worktree add", patience=120.0, tell=place.tell):
        yield


@contextmanager
def _marked(place: Workplace, repository: Repository, instance: Instance) -> Iterator[None]:
    """Write `.env.sandbox`, hidden from git; both undone when the block fails."""
    with excluded_env_file(repository):
        write_env_file(place, instance)
        try:
            yield
        except BaseException:
            instance.env_file.unlink(missing_ok=True)
            raise


def write_env_file(place: Workplace, instance: Instance) -> None:
    """The whole file, from the slot and the identity alone. Raises `cannot-write`."""
    workers = worker_ports(instance.slot, DEFAULT_WORKERS)
    sections = schema.sections(
        instance,
        ports=get_ports(instance.slot),
        extra={f"KTRDR_WORKER_PORT_{i}": str(port) for i, port in enumerate(workers, start=1)},
        paths=shared_variables(place.home),
    )
    writer.write(instance.env_file, sections)
