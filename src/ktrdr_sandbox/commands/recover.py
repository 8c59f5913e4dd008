"""Ends what a killed command left of an instance, before the next command on it begins.

What was being made is taken back, unless all of it was done. A destroy that had not touched the
directory yet is called off, one that had is finished. An `up` or `down` is told of, and the stack
left for the next `up` or `down`, which both take it from any state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ktrdr_sandbox.commands import construction, demolition
from ktrdr_sandbox.commands.compose_project import write_slot
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.orphans import end_orphans
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import temporary_name
from ktrdr_sandbox.locking import hold, is_held
from ktrdr_sandbox.models import ID_PREFIX, Instance
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.journal import Operation, Pending


def settle(context: Context, instance_id: str) -> bool:
    """End what is pending on an instance, unless a command is at work on it right now.

    One look at the disk when nothing is. Whether there was something to end. Raises what ending it
    raises; it is then tried again by the next command.
    """
    if not journal.exists(context.home, instance_id):
        return False
    lock = context.home.instance_lock(instance_id)
    try:
        with hold(lock, purpose="recovery", patience=0.0, tell=lambda _: None):
            settle_held(context, instance_id)
    except SandboxError as error:
        if error.code != "lock-timeout":
            raise
        return False
    return True


def is_busy(context: Context, instance_id: str) -> bool:
    """Whether a command is at work on the instance right now."""
    return is_held(context.home.instance_lock(instance_id))


def settle_all(context: Context) -> None:
    """End whatever is pending on any instance and can be ended now."""
    for pending in journal.pending(context.home):
        settle(context, pending.instance_id)


def settle_held(context: Context, instance_id: str) -> None:
    """As `settle`, by a command that holds the instance's lock."""
    if not journal.exists(context.home, instance_id):
        return
    pending = journal.load(context.home, instance_id)
    if pending is not None:
        outcome = _ENDINGS[pending.operation](context, pending)
        name = instance_id.removeprefix(ID_PREFIX)
        context.tell(
            f"An earlier '{pending.operation} {name}' (pid {pending.pid}, {pending.since}) did "
            f"not end: {outcome}"
        )
    _tidy(context, instance_id)
    journal.discard(context.home, instance_id)


def _tidy(context: Context, instance_id: str) -> None:
    """Half-written files whose writer was killed before it could put them in place."""
    context.registry.tidy()
    left = list(context.home.state_of(instance_id).glob("*.tmp"))
    entry = context.registry.read().instances.get(instance_id)
    if entry is not None:
        left.append(temporary_name(entry.env_file))
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def held(context: Context, instance: Instance, *, purpose: str) -> Iterator[Instance]:
    """Hold an instance's lock for the block, with nothing pending on it.

    Gives the instance as registered now, which a command that held the lock before may have
    changed. Raises `lock-timeout`, and `no-such-instance` when it is gone meanwhile.
    """
    lock = context.home.instance_lock(instance.id)
    purpose = f"{purpose} {instance.name}"
    with hold(lock, purpose=purpose, patience=context.lock_patience, tell=context.tell):
        settle_held(context, instance.id)
        yield current(context, instance)


def current(context: Context, instance: Instance) -> Instance:
    """The instance as registered now. Raises `no-such-instance`."""
    found = context.registry.read().instances.get(instance.id)
    if found is None or found.uuid != instance.uuid:
        raise SandboxError(
            "no-such-instance",
            f"There is no instance '{instance.name}' any more.",
            hints=("Run 'ktrdr-sandbox list' to see instances.",),
            details={"name": instance.name},
        )
    return found


def _end_making(context: Context, pending: Pending) -> str:
    if construction.was_complete(context, pending):
        return "all of it was done, so it stands."
    construction.take_back(context, pending)
    return "what it had made was taken back."


def _end_destroy(context: Context, pending: Pending) -> str:
    plan = demolition.Demolition.from_facts(pending.facts)
    if demolition.is_irrevocable(plan, pending):
        demolition.finish(context, plan)
        return "it has been finished."
    demolition.call_off(context, plan)
    return "its directory was untouched, so the instance stays; 'up' makes its containers again."


def _end_up(context: Context, pending: Pending) -> str:
    end_orphans(str(context.home.state_of(pending.instance_id)))
    return "its containers are as it left them; 'up' goes on with them, 'down' stops them."


def _end_down(_place: Context, _pending: Pending) -> str:
    return "'down' stops what it left, 'up' starts it again."


def _end_move(context: Context, pending: Pending) -> str:
    entry = context.registry.read().instances.get(pending.instance_id)
    if entry is not None and entry.env_file.is_file():
        write_slot(entry)
    return "its files tell the slot that the registry has."


_ENDINGS: Final[dict[Operation, Callable[[Context, Pending], str]]] = {
    "create": _end_making,
    "init": _end_making,
    "destroy": _end_destroy,
    "up": _end_up,
    "down": _end_down,
    "move": _end_move,
}
