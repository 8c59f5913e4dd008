"""Older registry documents brought to the present version, one explicit step a version."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import (
    FIRST_SLOT,
    LAST_SLOT,
    CreatedBy,
    EngineAddress,
    Instance,
    InstanceState,
)
from ktrdr_sandbox.naming import instance_id

T = TypeVar("T", bound=str)

_STATES: Final[tuple[InstanceState, ...]] = ("creating", "created", "removing")
_CREATORS: Final[tuple[CreatedBy, ...]] = ("create", "init")
_ENGINE_FIELDS: Final = ("context", "host", "tls_verify", "cert_path")
_FIELDS: Final = frozenset(
    {
        "slot",
        "path",
        "created_at",
        "is_worktree",
        "parent_repo",
        "uuid",
        "state",
        "created_by",
        "engine",
        "inode",
    }
)


class MalformedRegistryError(ValueError):
    """The content is not a registry. The text says where."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All instances by id. `extra` keeps top-level fields this program does not know."""

    instances: Mapping[str, Instance] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def with_instance(self, instance: Instance) -> Registry:
        return Registry({**self.instances, instance.id: instance}, self.extra)

    def without(self, instance_id: str) -> Registry:
        rest = {key: value for key, value in self.instances.items() if key != instance_id}
        return Registry(rest, self.extra)

    def taken_slots(self) -> dict[int, str]:
        return {instance.slot: instance.id for instance in self.instances.values()}


def dump(registry: Registry) -> dict[str, Any]:
    """The document's schema plus `version`; `allocated_slots` is derived, for its readers."""
    return {
        **registry.extra,
        "version": VERSION,
        "instances": {key: dump_instance(value) for key, value in registry.instances.items()},
        "allocated_slots": sorted(registry.taken_slots()),
    }


def dump_instance(instance: Instance) -> dict[str, Any]:
    """One entry, without its id, which is its key."""
    engine = {name: getattr(instance.engine, name) for name in _ENGINE_FIELDS}
    return {
        **instance.extra,
        "slot": instance.slot,
        "path": str(instance.path),
        "created_at": instance.created_at,
        "is_worktree": instance.is_worktree,
        "parent_repo": None if instance.parent_repo is None else str(instance.parent_repo),
        "uuid": instance.uuid,
        "state": instance.state,
        "created_by": instance.created_by,
        "engine": {name: value for name, value in engine.items() if value},
        **({} if instance.inode is None else {"inode": instance.inode}),
    }


def load(document: Any) -> Registry:
    """Raises MalformedRegistryError for anything that `dump` could not have written."""
    if not isinstance(document, dict) or not isinstance(document.get("instances"), dict):
        raise MalformedRegistryError("no object 'instances'")
    instances = {key: load_instance(key, value) for key, value in document["instances"].items()}
    known = {"version", "instances", "allocated_slots"}
    return Registry(instances, {k: v for k, v in document.items() if k not in known})


def load_instance(key: str, entry: Any) -> Instance:
    """The reverse of `dump_instance`. Raises MalformedRegistryError."""
    if not isinstance(entry, dict):
        raise MalformedRegistryError(f"instance {key} is not an object")
    if not _is_id(key):
        raise MalformedRegistryError(f"{key!r} cannot be an instance")
    parent = entry.get("parent_repo")
    return Instance(
        id=key,
        uuid=_text(key, entry, "uuid"),
        slot=_slot(key, entry),
        path=Path(_text(key, entry, "path")),
        created_at=_text(key, entry, "created_at"),
        is_worktree=bool(entry.get("is_worktree")),
        parent_repo=Path(parent) if isinstance(parent, str) else None,
        state=_one_of(key, entry, "state", _STATES),
        created_by=_one_of(key, entry, "created_by", _CREATORS),
        engine=_engine(key, entry.get("engine", {})),
        inode=_inode(key, entry),
        extra={k: v for k, v in entry.items() if k not in _FIELDS},
    )


def _is_id(key: str) -> bool:
    """It becomes a folder below ours, so it must be what `naming` makes."""
    try:
        return instance_id(key) == key
    except SandboxError:
        return False


def _text(key: str, entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedRegistryError(f"instance {key} has no text '{name}'")
    return value


def _slot(key: str, entry: Mapping[str, Any]) -> int:
    slot = entry.get("slot")
    if not isinstance(slot, int) or isinstance(slot, bool) or not _is_slot(slot):
        raise MalformedRegistryError(f"instance {key} has no valid 'slot'")
    return slot


def _inode(key: str, entry: Mapping[str, Any]) -> int | None:
    inode = entry.get("inode")
    if inode is not None and (not isinstance(inode, int) or isinstance(inode, bool)):
        raise MalformedRegistryError(f"instance {key} has an 'inode' that is no number")
    return inode


def _is_slot(number: int) -> bool:
    return FIRST_SLOT <= number <= LAST_SLOT


def _one_of(key: str, entry: Mapping[str, Any], name: str, allowed: tuple[T, ...]) -> T:
    for value in allowed:
        if entry.get(name) == value:
            return value
    raise MalformedRegistryError(f"instance {key} has an unknown '{name}': {entry.get(name)!r}")


def _engine(key: str, value: Any) -> EngineAddress:
    if not isinstance(value, dict):
        raise MalformedRegistryError(f"instance {key} has an 'engine' that is no object")
    for name in ("context", "host", "cert_path"):
        if not isinstance(value.get(name), str | None):
            raise MalformedRegistryError(f"instance {key} has an 'engine.{name}' that is no text")
    return EngineAddress(
        context=value.get("context"),
        host=value.get("host"),
        tls_verify=bool(value.get("tls_verify")),
        cert_path=value.get("cert_path"),
    )


VERSION: Final = 1


def version_of(document: Mapping[str, Any]) -> int:
    """The architecture document's own schema has no version: that is 0.

    Raises ValueError for one that is there and is no number of a version. It tells nothing of the
    shape, and a guess would be saved over what a newer program wrote.
    """
    version = document.get("version", 0)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ValueError(f"its 'version' is no number of a version: {version!r}")
    return version


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """The document in the present version. Shapes are not checked here, only added to.

    Raises ValueError as `version_of` does.
    """
    for version in range(version_of(document), VERSION):
        document = _STEPS[version](document)
    return document


def _from_plain(document: dict[str, Any]) -> dict[str, Any]:
    """0 to 1: each entry gets what the document's schema does not have.

    The uuid is derived, not drawn, so that every reader finds the same before one has saved it.
    `created_by` is the side on which no directory is ever deleted.
    """
    instances = document.get("instances")
    entries = instances if isinstance(instances, dict) else {}
    return {
        **document,
        "version": 1,
        "instances": {
            key: _with_identity(key, entry) if isinstance(entry, dict) else entry
            for key, entry in entries.items()
        }
        if isinstance(instances, dict)
        else instances,
    }


def _with_identity(key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    origin = f"ktrdr-sandbox:{key}:{entry.get('path')}:{entry.get('created_at')}"
    defaults = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, origin)),
        "state": "created",
        "created_by": "init",
    }
    return {**defaults, **entry}


_STEPS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {0: _from_plain}
