"""gc: end what is orphaned. Only what carries our uuid and this home's id is ever removed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

from ktrdr_sandbox.commands.context import Context, is_locked, recover
from ktrdr_sandbox.commands.destroy import destroy
from ktrdr_sandbox.commands.doctor_checks import DoctorContext, look_around
from ktrdr_sandbox.commands.down import remove_resources
from ktrdr_sandbox.commands.trash import delete, trashed
from ktrdr_sandbox.docker.engine import Belonging
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ID_PREFIX, EngineAddress
from ktrdr_sandbox.state import journal, last_up

KEEP_ASIDE_DAYS: Final = 30  # for a damaged registry that was set aside

Kind = Literal["command", "instance", "orphan", "trash", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to end. `parts` is exactly what goes with it; `trouble` why it stayed."""

    kind: Kind
    name: str
    reason: str
    end: Callable[[], object]
    parts: tuple[str, ...] = ()
    done: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """`remarks` are about what was left because it is in doubt or cannot be asked."""

    items: tuple[Item, ...]
    remarks: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not any(item.trouble for item in self.items)


def collect(context: Context, *, yes: bool) -> Collection:
    """List what is orphaned, and with `yes` end it. Repeating it finishes what was interrupted."""
    around = look_around(context)
    if around.registry_error is not None:
        raise around.registry_error
    remarks = [f"{error.message} Left out." for error in around.silent.values()]
    items = (
        *_killed(context, remarks),
        *_gone(around),
        *_orphans(around, remarks),
        *_expired(around),
    )
    items = tuple(_ended(item) for item in items) if yes else items
    return Collection(items=items, remarks=tuple(remarks))


def _ended(item: Item) -> Item:
    try:
        item.end()
    except (SandboxError, OSError) as error:
        return replace(item, trouble=str(error))
    return replace(item, done=True)


def _killed(context: Context, remarks: list[str]) -> Iterator[Item]:
    """Commands that were killed, ended as the next command on their instance would."""
    for pending in journal.pending(context.home):
        identity = pending.instance_id
        name = f"{pending.operation} {identity.removeprefix(ID_PREFIX)}"
        if is_locked(context, identity):
            remarks.append(f"'{name}' is under way; its instance is left alone.")
        else:
            reason, end = f"killed at {pending.last_step}", partial(recover, context, identity)
            yield Item(kind="command", name=name, reason=reason, end=end)


def _gone(around: DoctorContext) -> Iterator[Item]:
    """Instances whose directory is gone, ended as destroy does."""
    context = around.context
    for instance in around.instances:
        things = around.of(instance)
        if instance.path.is_dir() or things is None or instance.state != "created":
            continue
        if is_locked(context, instance.id) or journal.exists(context.home, instance.id):
            continue
        yield Item(
            kind="instance",
            name=instance.id,
            reason=f"its directory is gone: {instance.path}",
            parts=_parts(things, last_up.load(context.home, instance).images),
            end=partial(destroy, context, instance, keep_worktree=False, force=False),
        )


def _parts(things: Sequence[Belonging], images: Sequence[str]) -> tuple[str, ...]:
    named = (f"{thing.kind} {thing.name}" for thing in things)
    return (*named, *(f"image tag {image}" for image in images))


def _orphans(around: DoctorContext, remarks: list[str]) -> Iterator[Item]:
    context = around.context
    for (address, uuid), things in around.orphans().items():
        identity = things[0].instance_id
        if is_locked(context, identity):
            remarks.append(f"{identity} is being worked on and left alone.")
            continue
        images = _images_of(around, address, identity)
        yield Item(
            kind="orphan",
            name=identity,
            reason=f"no instance has the uuid {uuid} any more",
            parts=_parts(things, images),
            end=partial(_remove, context, address, identity, uuid, images),
        )


def _images_of(around: DoctorContext, address: EngineAddress, identity: str) -> tuple[str, ...]:
    """Image tags of an orphaned instance. Tags carry no label, so they are only taken for its own
    while nobody else, here or in another home, has an instance so called."""
    found = around.belongings.get(address, ())
    others = any(thing.instance_id == identity and thing.home != around.home_id for thing in found)
    if not others and all(instance.id != identity for instance in around.instances):
        with contextlib.suppress(SandboxError):
            images = around.context.engine(address).images()
            return tuple(sorted(image for image in images if image.startswith(f"{identity}/")))
    return ()


def _remove(
    context: Context, address: EngineAddress, identity: str, uuid: str, images: Sequence[str]
) -> None:
    engine = context.engine(address)
    remove_resources(engine, identity, uuid, engine.resources(uuid), grace=0)
    for image in images:
        engine.untag(image)
    if context.registered(identity) is None:
        shutil.rmtree(context.home.state_of(identity), ignore_errors=True)


def _expired(around: DoctorContext) -> Iterator[Item]:
    """What was kept for its time: the trash, and registries that were damaged."""
    home, keep = around.context.home, around.context.settings(None).trash_days
    for path, days in trashed(home):
        if days >= keep:
            reason = f"{days:.0f} days in the trash; kept for {keep:g}"
            end: Callable[[], None] = partial(_empty, around, path)
            yield Item(kind="trash", name=str(path), reason=reason, end=end)
    for path in sorted(home.sandbox.glob("instances*.json.damaged-*")):
        since = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
        if (datetime.now(UTC) - since).days >= KEEP_ASIDE_DAYS and path.is_file():
            reason = f"a damaged registry, set aside more than {KEEP_ASIDE_DAYS} days ago"
            end = partial(path.unlink, missing_ok=True)
            yield Item(kind="file", name=str(path), reason=reason, end=end)


def _empty(around: DoctorContext, path: Path) -> None:
    """Files of other users in it are given to this one by a container, if there is an engine."""
    here = around.here
    engine = around.context.engine(here) if here in around.belongings else None
    images = sorted(engine.images(), key=lambda name: "ktrdr" not in name)[:5] if engine else ()
    delete(path, engine=engine, images=images, uuid=f"trash-{path.name}")
