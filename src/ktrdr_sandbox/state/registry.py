"""The registry on disk: one JSON file, only ever read and replaced under one lock.

The lock is an `fcntl` lock of the kernel (through filelock), so a holder that crashes frees it. It
is held over read, decide and write, and never over anything slow.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, private_mode, replace_file, temporary_name
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.state.registry_file import (
    VERSION,
    MalformedRegistryError,
    Registry,
    dump,
    dump_instance,
    load,
    load_instance,
    upgraded,
    version_of,
)

T = TypeVar("T")

COPY: Final = "instance.json"
"""In each instance's state folder: its entry, should the registry be lost."""


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
        patience: float | Callable[[], float] = 30.0,
    ) -> None:
        """`rebuild` finds instances when the file is lost, from the damaged text and elsewhere.

        `patience` is in seconds; a function is asked only when there is somebody to wait for.
        """
        self._path = path
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
            with self._held():
                return self._recover()

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
        with self._held():
            try:
                before = self._load()
            except MalformedRegistryError:
                before = self._recover()
            after, result = change(before)
            if after != before:
                self._save(after)
                self._save_copies(before, after)
            return result

    def add(self, instance: Instance) -> None:
        """Put in or replace one instance."""
        self.update(lambda registry: (registry.with_instance(instance), None))

    def drop(self, instance: Instance) -> None:
        """Take one instance out; one of the same id but another uuid stays."""

        def change(registry: Registry) -> tuple[Registry, None]:
            current = registry.instances.get(instance.id)
            if current is None or current.uuid != instance.uuid:
                return registry, None
            return registry.without(instance.id), None

        self.update(change)

    def tidy(self) -> None:
        """Take away what a killed writer left beside the file. Raises `lock-timeout`."""
        temporary = temporary_name(self._path)
        if temporary.exists():
            with self._held(), contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with hold(self._lock, purpose=self._purpose, patience=self._patience, tell=self._tell):
            yield

    def _load(self) -> Registry:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if any(self._copies()):
                raise MalformedRegistryError("it is missing") from None
            return Registry()
        except IsADirectoryError as error:
            raise MalformedRegistryError("it is a directory") from error
        except UnicodeDecodeError as error:
            raise MalformedRegistryError("it is not text") from error
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return load(self._versioned(text))

    def _versioned(self, text: str) -> Any:
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise MalformedRegistryError(str(error)) from error
        if not isinstance(document, dict):
            raise MalformedRegistryError("it is no object")
        version = _version(document)
        if version > VERSION:
            raise SandboxError(
                "registry-newer",
                f"{self._path} was written by a newer ktrdr-sandbox (registry version {version}, "
                f"this program knows {VERSION}). It is left as it is.",
                hints=("Upgrade: pipx upgrade ktrdr-sandbox",),
                details={"path": str(self._path), "version": version},
            )
        return upgraded(document)

    def _save(self, registry: Registry) -> None:
        text = json.dumps(dump(registry), indent=2, ensure_ascii=False) + "\n"
        replace_file(self._path, text, mode=private_mode(self._path.parent))

    # -- copies of the entries ---------------------------------------------------------------

    def _folder_of(self, instance_id: str) -> Path:
        return self._path.parent / "instances" / instance_id

    def _copies(self) -> Iterator[Path]:
        return self._path.parent.glob(f"instances/*/{COPY}")

    def _save_copies(self, before: Registry, after: Registry) -> None:
        """Of what is new or other and in use; the copy goes with the instance's state folder."""
        for key, instance in after.instances.items():
            if instance.state == "created" and before.instances.get(key) != instance:
                self._save_copy(instance)

    def _save_copy(self, instance: Instance) -> None:
        text = json.dumps({"id": instance.id, **dump_instance(instance)}, indent=2) + "\n"
        copy = self._folder_of(instance.id) / COPY
        replace_file(copy, text, mode=private_mode(copy.parent))

    def renew_copy(self, instance: Instance) -> None:
        """Write an entry's copy again, which its writer may not have come to. `cannot-write`."""
        with self._held():
            self._save_copy(instance)

    def copies(self) -> list[Instance]:
        """The entries as last copied, of instances whose registry entry may be lost."""
        found = []
        for path in sorted(self._copies()):
            with contextlib.suppress(OSError, ValueError):
                entry = json.loads(path.read_text(encoding="utf-8"))
                found.append(load_instance(path.parent.name, entry))
        return [replace(one, extra=_without_id(one)) for one in found]

    # -- loss --------------------------------------------------------------------------------

    def _recover(self) -> Registry:
        """Set a damaged file aside, rebuild what can be found, and say so. Needs the lock."""
        try:
            return self._load()  # another process may have recovered it while we waited
        except MalformedRegistryError as damage:
            text = self._damaged_text()
            aside = self._set_aside()
            found = self._rebuild(text)
            rebuilt = Registry({instance.id: instance for instance in found.instances})
            self._save(rebuilt)
            self._save_copies(Registry(), rebuilt)
            self._tell_of_loss(damage, aside, found)
            return rebuilt

    def _tell_of_loss(self, damage: Exception, aside: Path | None, found: Rebuilt) -> None:
        names = ", ".join(f"{i.id} (slot {i.slot})" for i in found.instances) or "none"
        kept = f"; it is kept as {aside.name}" if aside else ""
        self._tell(
            f"The registry {self._path} was lost ({damage}){kept}. "
            f"Rebuilt from what is on this machine: {names}."
        )
        for remark in found.remarks:
            self._tell(remark)

    def _damaged_text(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _set_aside(self) -> Path | None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot_write(aside, error) from error
        return aside


def _version(document: Mapping[str, Any]) -> int:
    try:
        return version_of(document)
    except ValueError as error:
        raise MalformedRegistryError(str(error)) from error


def _without_id(instance: Instance) -> dict[str, Any]:
    return {key: value for key, value in instance.extra.items() if key != "id"}


def _unreadable(path: Path, error: OSError) -> SandboxError:
    # Where it cannot even be read it cannot be written: nothing of the file itself is known.
    return SandboxError(
        "cannot-write",
        f"Cannot read the registry {path}: {error.strerror}.",
        hints=("Check its owner and permissions, or point KTRDR_HOME elsewhere.",),
        details={"path": str(path), "errno": error.errno},
    )
