"""The registry: all instances in one JSON file, only ever read and replaced under one lock.

The lock is an `fcntl` lock of the kernel (through filelock), so a holder that crashes frees it. It
is held over read, decide and write, and never over anything slow.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, private_mode, replace_file, temporary_name
from ktrdr_sandbox.locking import Patience, hold
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, Instance
from ktrdr_sandbox.naming import instance_id
from ktrdr_sandbox.state.values import from_json, to_json

T = TypeVar("T")

VERSION: Final = 1
COPY: Final = "instance.json"  # in an instance's state folder: its entry, for a lost registry
KTRDR_TOOL: Final = "KTRDR's own sandbox tool"


class MalformedRegistryError(ValueError):
    """The content is not a registry. The text says where."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All instances by id. `extra` keeps top-level fields this program does not know; `claims` are
    slots that another tool's file takes, with whose they are."""

    instances: Mapping[str, Instance] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[int, str] = field(default_factory=dict)

    def with_instance(self, instance: Instance) -> Registry:
        return replace(self, instances={**self.instances, instance.id: instance})

    def without(self, key: str) -> Registry:
        rest = {other: value for other, value in self.instances.items() if other != key}
        return replace(self, instances=rest)

    def taken_slots(self) -> dict[int, str]:
        """Slots with the instance, or the other tool, that has each."""
        own = {instance.slot: instance.id for instance in self.instances.values()}
        return {**self.claims, **own}


# -- the file's shape ----------------------------------------------------------------------------


def dump(registry: Registry) -> dict[str, Any]:
    """The document's schema plus `version`; `allocated_slots` is derived, for its readers."""
    return {
        **registry.extra,
        "version": VERSION,
        "instances": {key: _dump_instance(value) for key, value in registry.instances.items()},
        "allocated_slots": sorted({instance.slot for instance in registry.instances.values()}),
    }


def _dump_instance(instance: Instance) -> dict[str, Any]:
    entry = to_json(instance)
    extra, engine = entry.pop("extra"), entry["engine"]
    del entry["id"]  # which is its key
    entry["engine"] = {name: value for name, value in engine.items() if value}
    if instance.inode is None:
        del entry["inode"]
    return {**extra, **entry}


def load(document: Any) -> Registry:
    """Raises MalformedRegistryError for anything that `dump` could not have written."""
    if not isinstance(document, dict) or not isinstance(document.get("instances"), dict):
        raise MalformedRegistryError("no object 'instances'")
    instances = {key: load_instance(key, value) for key, value in document["instances"].items()}
    known = {"version", "instances", "allocated_slots"}
    return Registry(instances, {k: v for k, v in document.items() if k not in known})


def load_instance(key: str, entry: Any) -> Instance:
    """One entry of the file. Raises MalformedRegistryError."""
    if not isinstance(entry, dict):
        raise MalformedRegistryError(f"instance {key} is not an object")
    try:  # it becomes a folder below ours, so it must be what `naming` makes
        valid = instance_id(key) == key
    except SandboxError:
        valid = False
    if not valid:
        raise MalformedRegistryError(f"{key!r} cannot be an instance")
    known = Instance.__dataclass_fields__.keys() - {"id", "extra"}
    extra = {name: value for name, value in entry.items() if name not in known}
    defaults = {"is_worktree": False, "parent_repo": None}
    try:
        found = from_json(Instance, {**defaults, **entry, "id": key, "extra": extra})
    except ValueError as error:
        raise MalformedRegistryError(f"instance {key}: {error}") from error
    if not FIRST_SLOT <= found.slot <= LAST_SLOT or not found.uuid or not found.created_at:
        raise MalformedRegistryError(f"instance {key} has no valid 'slot', 'uuid' or 'created_at'")
    return found


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """The document in the present version. Shapes are not checked here, only added to.

    The architecture document's own schema has no version: that is 0. Raises MalformedRegistryError
    for one that is no number of a version: a guess would be saved over what a newer program wrote.
    """
    version, instances = document.get("version", 0), document.get("instances")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise MalformedRegistryError(f"its 'version' is no number of a version: {version!r}")
    if version == 0 and isinstance(instances, dict):
        instances = {
            key: _with_identity(key, entry) if isinstance(entry, dict) else entry
            for key, entry in instances.items()
        }
    return {**document, "version": max(version, VERSION), "instances": instances}


def _with_identity(key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0 to 1. The uuid is derived, not drawn, so that every reader finds the same before
    one has saved it. `created_by` is the side on which no directory is ever deleted."""
    origin = f"ktrdr-sandbox:{key}:{entry.get('path')}:{entry.get('created_at')}"
    derived = str(uuid.uuid5(uuid.NAMESPACE_URL, origin))
    return {"uuid": derived, "state": "created", "created_by": "init", **entry}


def slots_of_ktrdr_tool(path: Path) -> dict[int, str] | None:
    """The slots that KTRDR's own later tool claims in its version 2 file; None for another file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] < 2 or not {"local_prod", "slots"} <= document.keys():
            return None
        claimed = {entry["slot"]: key for key, entry in document["instances"].items()}
        for entry in document["slots"].values():
            if entry.get("claimed_by") or entry.get("status") == "running":
                claimed[entry["slot_id"]] = str(entry.get("claimed_by"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return {slot: f"{KTRDR_TOOL} ({owner})" for slot, owner in claimed.items()}


# -- the file on disk ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was found in place of a lost registry; `remarks` are sentences for the user."""

    instances: tuple[Instance, ...] = ()
    remarks: tuple[str, ...] = ()


class RegistryStore:
    """Reads and changes the registry file. `tell` receives sentences meant for the user."""

    def __init__(
        self,
        path: Path,
        lock: Path,
        *,
        rebuild: Callable[[str], Rebuilt] = lambda _: Rebuilt(),
        tell: Callable[[str], None] = lambda _: None,
        purpose: str = "",
        patience: Patience = 30.0,
    ) -> None:
        """`rebuild` finds instances when the file is lost, from the damaged text and elsewhere."""
        self._path = path
        self._beside = path.with_name(f"{path.stem}.ktrdr-sandbox{path.suffix}")
        self._lock = lock
        self._rebuild = rebuild
        self._tell = tell
        self._purpose = purpose
        self._patience = patience

    def read(self) -> Registry:
        """What is registered now. Takes no lock: the file is only ever replaced whole."""
        try:
            return self._load()
        except MalformedRegistryError:
            with self._locked():
                return self._load_or_recover()

    def peek(self) -> Registry:
        """What is registered now, or nothing where that cannot be read. Never repairs or tells."""
        try:
            return self._load()
        except (MalformedRegistryError, SandboxError):
            return Registry()

    def update(self, change: Callable[[Registry], tuple[Registry, T]]) -> T:
        """Apply `change` under the lock and save its registry; returns its second value.

        An exception out of `change` leaves the file as it was. Raises `lock-timeout`,
        `registry-newer` and `cannot-write`.
        """
        with self._locked():
            before = self._load_or_recover()
            after, result = change(before)
            if after != before:
                self._save(before, after)
            return result

    def add(self, instance: Instance) -> None:
        """Put in or replace one instance."""
        self.update(lambda registry: (registry.with_instance(instance), None))

    def replace(self, instance: Instance) -> None:
        """Put in a new entry of an instance that is still registered."""
        self._change_if_there(instance, lambda registry: registry.with_instance(instance))

    def drop(self, instance: Instance) -> None:
        """Take one instance out; one of the same id but another uuid stays."""
        self._change_if_there(instance, lambda registry: registry.without(instance.id))

    def _change_if_there(self, instance: Instance, to: Callable[[Registry], Registry]) -> None:
        def change(registry: Registry) -> tuple[Registry, None]:
            current = registry.instances.get(instance.id)
            same = current is not None and current.uuid == instance.uuid
            return (to(registry) if same else registry), None

        self.update(change)

    def tidy(self) -> None:
        """Take away what a killed writer left beside the file. Raises `lock-timeout`."""
        for temporary in (temporary_name(self._path), temporary_name(self._beside)):
            if temporary.exists():
                with self._locked(), contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _locked(self) -> AbstractContextManager[None]:
        return hold(self._lock, purpose=self._purpose, patience=self._patience, tell=self._tell)

    def _place(self) -> tuple[Path, Mapping[int, str]]:
        """Our file, and the slots taken by KTRDR's own tool, which may have its file in our place.

        Then, and ever after, ours is beside it.
        """
        theirs = slots_of_ktrdr_tool(self._path)
        if theirs is None and not os.path.exists(self._beside):  # noqa: PTH110  no error is one
            return self._path, {}
        return self._beside, theirs or {}

    def _load(self) -> Registry:
        path, claims = self._place()
        document = _document(path)
        if document is None:
            if any(self._copies()):
                raise MalformedRegistryError("it is missing")
            return Registry(claims=claims)
        if document["version"] > VERSION:
            raise SandboxError(
                "registry-newer",
                f"{path} was written by a newer ktrdr-sandbox (registry version "
                f"{document['version']}, this program knows {VERSION}). It is left as it is.",
                hints=("Upgrade: pipx upgrade ktrdr-sandbox",),
                details={"path": str(path), "version": document["version"]},
            )
        return replace(load(document), claims=claims)

    def _save(self, before: Registry, after: Registry) -> None:
        """Write the file, and copies of the entries that are new or other and in use."""
        path, _ = self._place()
        if path == self._beside and not path.exists():
            self._tell(
                f"{self._path} is of {KTRDR_TOOL} and left as it is; this program's registry is "
                f"{path.name} beside it."
            )
        text = json.dumps(dump(after), indent=2, ensure_ascii=False) + "\n"
        replace_file(path, text, mode=private_mode(path.parent))
        for key, instance in after.instances.items():
            if instance.state == "created" and before.instances.get(key) != instance:
                self._save_copy(instance)

    def _load_or_recover(self) -> Registry:
        """Set a damaged file aside, rebuild what can be found, and say so. Needs the lock."""
        try:
            return self._load()
        except MalformedRegistryError as error:
            damage = error
        path, claims = self._place()
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = path.with_name(f"{path.name}.damaged-{stamp}")
        kept = f"; it is kept as {aside.name}"
        try:
            path.rename(aside)
        except FileNotFoundError:
            kept = ""
        except OSError as error:
            raise cannot_write(aside, error) from error
        found = self._rebuild(text)
        rebuilt = Registry({one.id: one for one in found.instances}, claims=claims)
        self._save(Registry(), rebuilt)
        names = ", ".join(f"{one.id} (slot {one.slot})" for one in found.instances) or "none"
        self._tell(
            f"The registry {path} was lost ({damage}){kept}. "
            f"Rebuilt from what is on this machine: {names}."
        )
        for remark in found.remarks:
            self._tell(remark)
        return rebuilt

    # -- copies of the entries ---------------------------------------------------------------

    def _copies(self) -> Iterator[Path]:
        return self._path.parent.glob(f"instances/*/{COPY}")

    def _save_copy(self, instance: Instance) -> None:
        """The copy goes with the instance's state folder."""
        text = json.dumps({"id": instance.id, **_dump_instance(instance)}, indent=2) + "\n"
        copy = self._path.parent / "instances" / instance.id / COPY
        replace_file(copy, text, mode=private_mode(copy.parent))

    def renew_copy(self, instance: Instance) -> None:
        """Write an entry's copy again, which its writer may not have come to. `cannot-write`."""
        with self._locked():
            self._save_copy(instance)

    def copies(self) -> list[Instance]:
        """The entries as last copied, of instances whose registry entry may be lost."""
        found = []
        for path in sorted(self._copies()):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                entry = json.loads(path.read_text(encoding="utf-8"))
                entry.pop("id", None)
                found.append(load_instance(path.parent.name, entry))
        return found


def _document(path: Path) -> dict[str, Any] | None:
    """The file's object in the present version or a newer one, None where there is no file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (IsADirectoryError, ValueError) as error:  # not text, or not JSON
        raise MalformedRegistryError(str(error)) from error
    except OSError as error:
        # Where it cannot even be read it cannot be written: nothing of the file itself is known.
        raise SandboxError(
            "cannot-write",
            f"Cannot read the registry {path}: {error.strerror}.",
            hints=("Check its owner and permissions, or point KTRDR_HOME elsewhere.",),
            details={"path": str(path), "errno": error.errno},
        ) from error
    if not isinstance(document, dict):
        raise MalformedRegistryError("it is no object")
    return upgraded(document)
