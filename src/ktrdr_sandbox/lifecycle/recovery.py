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

from ktrdr_sandbox.durable import temporary_name
from ktrdr_sandbox.engine.orphans import end_orphans
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import construction, demolition, journal
from ktrdr_sandbox.lifecycle.env_files import write_slot
from ktrdr_sandbox.lifecycle.journal import Operation, Pending
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.locking import hold, is_held
from ktrdr_sandbox.models import ID_PREFIX, Instance


def settle(place: Workplace, instance_id: str) -> bool:
    """End what is pending on an instance, unless a command is at work on it right now.

    One look at the disk when nothing is. Whether there was something to end. Raises what ending it
    raises; it is then tried again by the next command.
    """
    if not journal.exists(place.home, instance_id):
        return False
    lock = place.home.instance_lock(instance_id)
    try:
        with hold(lock, purpose="recovery", patience=0.0, tell=lambda _: None):
            settle_held(place, instance_id)
    except SandboxError as error:
        if error.code != "lock-timeout":
            raise
        return False
    return True


def is_busy(place: Workplace, instance_id: str) -> bool:
    """Whether a command is at work on the instance right now."""
    return is_held(place.home.instance_lock(instance_id))


def settle_all(place: Workplace) -> None:
    """End whatever is pending on any instance and can be ended now."""
    for pending in journal.pending(place.home):
        settle(place, pending.instance_id)


def settle_held(place: Workplace, instance_id: str) -> None:
    """As `settle`, by a command that holds the instance's lock."""
    if not journal.exists(place.home, instance_id):
        return
    pending = journal.load(place.home, instance_id)
    if pending is not None:
        outcome = _ENDINGS[pending.operation](place, pending)
        name = instance_id.removeprefix(ID_PREFIX)
        place.tell(
            f"An earlier '{pending.operation} {name}' (pid {pending.pid}, {pending.since}) did "
            f"not end: {outcome}"
        )
    _tidy(place, instance_id)
    journal.discard(place.home, instance_id)


def _tidy(place: Workplace, instance_id: str) -> None:
    """Half-written files whose writer was killed before it could put them in place."""
    place.registry.tidy()
    left = list(place.home.state_of(instance_id).glob("*.tmp"))
    entry = place.registry.read().instances.get(instance_id)
    if entry is not None:
        left.append(temporary_name(entry.env_file))
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def held(place: Workplace, instance: Instance, *, purpose: str) -> Iterator[Instance]:
    """Hold an instance's lock for the block, with nothing pending on it.

    Gives the instance as registered now, which a command that held the lock before may have
    changed. Raises `lock-timeout`, and `no-such-instance` when it is gone meanwhile.
    """
    lock = place.home.instance_lock(instance.id)
    purpose = f"{purpose} {instance.name}"
    with hold(lock, purpose=purpose, patience=place.lock_patience, tell=place.tell):
        settle_held(place, instance.id)
        yield current(place, instance)


def current(place: Workplace, instance: Instance) -> Instance:
    """The instance as registered now. Raises `no-such-instance`."""
    found = place.registry.read().instances.get(instance.id)
    if found is None or found.uuid != instance.uuid:
        raise SandboxError(
            "no-such-instance",
            f"There is no instance '{instance.name}' any more.",
            hints=("Run 'ktrdr-sandbox list' to see instances.",),
            details={"name": instance.name},
        )
    return found


def _end_making(place: Workplace, pending: Pending) -> str:
    if construction.was_complete(place, pending):
        return "all of it was done, so it stands."
    construction.take_back(place, pending)
    return "what it had made was taken back."


def _end_destroy(place: Workplace, pending: Pending) -> str:
    plan = demolition.Demolition.from_facts(pending.facts)
    if demolition.is_irrevocable(plan, pending):
        demolition.finish(place, plan)
        return "it has been finished."
    demolition.call_off(place, plan)
    return "its directory was untouched, so the instance stays; 'up' makes its containers again."


def _end_up(place: Workplace, pending: Pending) -> str:
    end_orphans(str(place.home.state_of(pending.instance_id)))
    return "its containers are as it left them; 'up' goes on with them, 'down' stops them."


def _end_down(_place: Workplace, _pending: Pending) -> str:
    return "'down' stops what it left, 'up' starts it again."


def _end_move(place: Workplace, pending: Pending) -> str:
    entry = place.registry.read().instances.get(pending.instance_id)
    if entry is not None and entry.env_file.is_file():
        write_slot(entry)
    return "its files tell the slot that the registry has."


_ENDINGS: Final[dict[Operation, Callable[[Workplace, Pending], str]]] = {
    "create": _end_making,
    "init": _end_making,
    "destroy": _end_destroy,
    "up": _end_up,
    "down": _end_down,
    "move": _end_move,
}
