"""What every use case needs: home, settings, registry, an engine for an address, a voice, locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold, is_held
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.registry import RegistryStore

if TYPE_CHECKING:  # every command loads this, few need an engine or settings
    from ktrdr_sandbox.docker.engine import Engine
    from ktrdr_sandbox.models import EngineAddress
    from ktrdr_sandbox.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed to each use case by `cli/wiring.py`; tests hand in their own.

    `tell` takes a sentence for the user (shown on stderr); `settings` reads them for a checkout.
    """

    home: Home
    cwd: Path
    environment: Mapping[str, str]
    registry: RegistryStore
    engine: Callable[[EngineAddress], Engine]
    settings: Callable[[Path | None], Settings]
    tell: Callable[[str], None]

    def registered(self, instance_id: str, *, uuid: str | None = None) -> Instance | None:
        """The instance as registered now; None for another of that name when `uuid` is given."""
        found = self.registry.read().instances.get(instance_id)
        return None if found is None or uuid not in (None, found.uuid) else found


@contextmanager
def locked_instance(context: Context, instance: Instance, *, purpose: str) -> Iterator[Instance]:
    """Hold an instance's lock for the block; gives the instance as registered now.

    Raises `lock-timeout`, and `no-such-instance` when it is gone meanwhile.
    """
    with locked_name(context, instance.id, purpose=f"{purpose} {instance.name}"):
        yield current(context, instance)


@contextmanager
def locked_name(
    context: Context, instance_id: str, *, purpose: str, wait: bool = True
) -> Iterator[None]:
    """Hold the lock of an instance that is there or is to be, with nothing pending on it.

    The lock's file goes where no instance is so called afterwards.
    """
    lock = context.home.instance_lock(instance_id)
    with hold(
        lock,
        purpose=purpose,
        patience=(lambda: context.settings(None).lock_patience) if wait else 0.0,
        tell=context.tell if wait else lambda _: None,
    ):
        if journal.exists(context.home, instance_id):
            # It loads every verb, and the verbs load this; a kill is rare.
            from ktrdr_sandbox.commands.recover import recover_locked

            recover_locked(context, instance_id)
        try:
            yield
        finally:
            known = instance_id in context.registry.peek().instances
            if not known and not journal.exists(context.home, instance_id):
                lock.unlink(missing_ok=True)


@contextmanager
def locked_repository(context: Context, common_dir: Path) -> Iterator[None]:
    """Git's own lock files fail a second `worktree add` at once instead of letting it wait."""
    lock = context.home.repository_lock(common_dir)
    with hold(lock, purpose="git worktree", patience=120.0, tell=context.tell):
        yield


def is_locked(context: Context, instance_id: str) -> bool:
    """Whether a command is at work on the instance right now."""
    return is_held(context.home.instance_lock(instance_id))


def current(context: Context, instance: Instance) -> Instance:
    """The instance as registered now. Raises `no-such-instance`."""
    found = context.registered(instance.id, uuid=instance.uuid)
    if found is None:
        raise SandboxError(
            "no-such-instance",
            f"There is no instance '{instance.name}' any more.",
            hints=("Run 'ktrdr-sandbox list' to see instances.",),
            details={"name": instance.name},
        )
    return found


def recover(context: Context, instance_id: str) -> bool:
    """Recover an instance after its previous command was killed; whether there was anything to do.

    One look at the disk when nothing is pending, and nothing while a command is at work on it.
    Raises what recovery raises; the next command tries again.
    """
    if not journal.exists(context.home, instance_id):
        return False
    try:
        with locked_name(context, instance_id, purpose="recovery", wait=False):
            return True
    except SandboxError as error:
        if error.code != "lock-timeout":
            raise
        return False


def recover_all(context: Context) -> None:
    """Recover every instance that can be recovered now."""
    for pending in journal.pending(context.home):
        recover(context, pending.instance_id)
