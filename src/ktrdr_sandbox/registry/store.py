"""The registry on disk: one JSON file, only ever read and replaced under one lock.

The lock is an `fcntl` lock of the kernel (through filelock), so a holder that crashes frees it. It
is held over read, decide and write, and never over anything slow.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ktrdr_sandbox.durable import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.registry.schema import (
    VERSION,
    MalformedRegistryError,
    Registry,
    dump,
    load,
)

T = TypeVar("T")


class RegistryStore:
    """Reads and changes the registry file. `tell` receives sentences meant for the user."""

    def __init__(
        self,
        path: Path,
        lock: Path,
        *,
        rebuild: Callable[[], list[Instance]] = list,
        tell: Callable[[str], None] = lambda _: None,
        purpose: str = "",
        patience: float = 30.0,
    ) -> None:
        """`rebuild` finds instances when the file is damaged; `patience` is in seconds."""
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
        version = document.get("version", VERSION) if isinstance(document, dict) else VERSION
        if isinstance(version, int) and version > VERSION:
            raise SandboxError(
                "registry-newer",
                f"{self._path} was written by a newer ktrdr-sandbox (registry version {version}, "
                f"this program knows {VERSION}). It is left as it is.",
                hints=("Upgrade: pipx upgrade ktrdr-sandbox",),
                details={"path": str(self._path), "version": version},
            )
        return document

    def _save(self, registry: Registry) -> None:
        text = json.dumps(dump(registry), indent=2, ensure_ascii=False) + "\n"
        replace_file(self._path, text, mode=0o600)

    def _recover(self) -> Registry:
        """Set a damaged file aside, rebuild what can be found, and say so. Needs the lock."""
        try:
            return self._load()  # another process may have recovered it while we waited
        except MalformedRegistryError as damage:
            aside = self._set_aside()
            found = self._rebuild()
            rebuilt = Registry({instance.id: instance for instance in found})
            self._save(rebuilt)
            names = ", ".join(f"{i.id} (slot {i.slot})" for i in found) or "none"
            self._tell(
                f"The registry {self._path} was damaged ({damage}); it is kept as {aside.name}. "
                f"Rebuilt from what is on this machine: {names}."
            )
            return rebuilt

    def _set_aside(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        try:
            self._path.rename(aside)
        except OSError as error:
            raise cannot_write(aside, error) from error
        return aside


def _unreadable(path: Path, error: OSError) -> SandboxError:
    # Where it cannot even be read it cannot be written: nothing of the file itself is known.
    return SandboxError(
        "cannot-write",
        f"Cannot read the registry {path}: {error.strerror}.",
        hints=("Check its owner and permissions, or point KTRDR_HOME elsewhere.",),
        details={"path": str(path), "errno": error.errno},
    )
