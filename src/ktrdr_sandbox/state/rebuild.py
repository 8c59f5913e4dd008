"""A registry that was lost, found again: copies, salvage, markers in worktrees, Docker labels.

Sources in order of what they know. The copy of an entry and an entry that is still readable know
all of it; a marker knows the rest from git; labels tell that an instance was there. Nothing found
is dropped without a word, and no two instances get one slot.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ktrdr_sandbox import env_file, naming
from ktrdr_sandbox.docker.engine import Belonging, Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import locate, worktrees
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, EngineAddress, Instance
from ktrdr_sandbox.paths import ENV_FILE_NAME, Home
from ktrdr_sandbox.state.last_up import known_home_id
from ktrdr_sandbox.state.registry import MalformedRegistryError, Rebuilt, load_instance, upgraded

_KEY: Final = re.compile(r'"(ktrdr--[^"]+)"\s*:\s*(?=\{)')
_NO_SLOT: Final = 0


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where to look. `engine` makes one for an address, `here` is the address of the moment."""

    home: Home
    cwd: Path
    engine: Callable[[EngineAddress], Engine]
    here: EngineAddress


def rebuild(places: Places, *, copies: Sequence[Instance], damaged: str) -> Rebuilt:
    """Find what was registered. Changes nothing; an engine that does not answer is told."""
    remarks: list[str] = []
    known = [*copies, *salvaged(damaged)]
    marked = list(_marked(places, known))
    found = [*marked, *_labelled(places, known, remarks)]
    moved = {(one.uuid, one.inode): one.path for one in marked}
    known = [
        one if one.path.is_dir() else replace(one, path=moved.get((one.uuid, one.inode), one.path))
        for one in known
    ]
    by_id = {one.id: one for one in _one_of_each(known, remarks)}
    uuids = {one.uuid for one in known}
    for one in _one_of_each((one for one in found if one.uuid not in uuids), remarks):
        kept = by_id.setdefault(one.id, one)
        if kept is not one:
            remarks.append(
                f"{one.path} says that it is {one.id} too (uuid {one.uuid}), and is left out; "
                f"that is {kept.path}."
            )
    instances = tuple(_with_own_slots(list(by_id.values()), remarks))
    return Rebuilt(instances=instances, remarks=tuple(remarks))


def salvaged(text: str) -> Iterator[Instance]:
    """Entries of a damaged document that are whole by themselves."""
    for found in _KEY.finditer(text):
        with contextlib.suppress(ValueError, MalformedRegistryError):
            entry, _ = json.JSONDecoder().raw_decode(text, found.end())
            document = upgraded({"instances": {found[1]: entry}})
            yield load_instance(found[1], document["instances"][found[1]])


def _marked(places: Places, known: Iterable[Instance]) -> Iterator[Instance]:
    """By the markers in the repositories that instances came from, and in the one around us."""
    starts = [places.cwd]
    for instance in known:
        starts += [path for path in (instance.parent_repo, instance.path) if path is not None]
    repositories: dict[Path, None] = {}
    for start in starts:
        with contextlib.suppress(SandboxError, OSError):
            if start.is_dir():
                repositories[locate(start).main] = None
    for main in repositories:
        for worktree in worktrees(main):
            with contextlib.suppress(SandboxError, ValueError):  # the marker tells nothing
                if (worktree.path / ENV_FILE_NAME).is_file():
                    yield _from_marker(worktree.path, main, places.here)


def _from_marker(root: Path, main: Path, here: EngineAddress) -> Instance:
    values = env_file.read(root / ENV_FILE_NAME)
    identity, uuid = values.get("INSTANCE_ID", ""), values.get("SANDBOX_UUID", "")
    if not uuid or naming.instance_id(identity) != identity:
        raise ValueError(identity)
    # What `destroy` deletes hangs on who made it, so a marker alone, which is easily copied, is not
    # believed: the directory must lie exactly where create puts it.
    is_create = values.get("CREATED_BY") == "create" and root == main.parent / identity
    return Instance(
        id=identity,
        uuid=uuid,
        slot=_slot(values.get("SLOT_NUMBER", "")),
        path=root,
        created_at=values.get("CREATED_AT") or _now(),
        is_worktree=root != main,
        parent_repo=main if root != main else None,
        state="created",
        created_by="create" if is_create else "init",
        engine=here,
        inode=root.stat().st_ino,
    )


def _labelled(places: Places, known: Sequence[Instance], remarks: list[str]) -> Iterator[Instance]:
    """By the labels of what is on the engines."""
    own = known_home_id(places.home)
    addresses = dict.fromkeys([*(one.engine for one in known), places.here])
    for address in addresses if own else ():
        try:
            found = places.engine(address).belongings()
        except SandboxError as error:
            remarks.append(f"{error.message} What is on it could not be asked.")
            continue
        by_uuid: dict[str, list[Belonging]] = {}
        for thing in found:
            if thing.home == own and thing.uuid:
                by_uuid.setdefault(thing.uuid, []).append(thing)
        for things in by_uuid.values():
            with contextlib.suppress(SandboxError):
                yield _from_labels(places.home, things, address)


def _from_labels(home: Home, things: Sequence[Belonging], address: EngineAddress) -> Instance:
    """An instance of which only containers, networks or volumes are left."""
    identity = naming.instance_id(things[0].instance_id)
    directory = next((thing.directory for thing in things if thing.directory), "")
    return Instance(
        id=identity,
        uuid=things[0].uuid,
        slot=_slot(next((thing.slot for thing in things if thing.slot), "")),
        path=Path(directory) if directory else home.state_of(identity) / "unknown",
        created_at=_now(),
        is_worktree=False,
        parent_repo=None,
        state="created",
        created_by="init",
        engine=address,
    )


def _one_of_each(instances: Iterable[Instance], remarks: list[str]) -> Iterable[Instance]:
    """The first of each uuid. Of two directories with one marker, the one so named counts."""
    chosen: dict[str, Instance] = {}
    for one in instances:
        other = chosen.setdefault(one.uuid, one)
        if other.path != one.path:
            kept, left = (one, other) if one.path.name == one.id else (other, one)
            chosen[one.uuid] = kept
            remarks.append(
                f"{left.path} has the marker of {one.id} too and is taken for a copy of "
                f"{kept.path}."
            )
    return chosen.values()


def _with_own_slots(instances: Sequence[Instance], remarks: list[str]) -> Iterator[Instance]:
    """Who comes first keeps a slot; others get a free one, as long as there are any."""
    taken: dict[int, str] = {}
    for one in instances:
        if one.slot != _NO_SLOT:
            taken.setdefault(one.slot, one.id)
    for one in instances:
        if taken.get(one.slot) == one.id:
            yield one
            continue
        free = next((s for s in range(FIRST_SLOT, LAST_SLOT + 1) if s not in taken), None)
        if free is None:
            remarks.append(f"{one.id} ({one.path}) is left out: no slot is free for it.")
            continue
        taken[free] = one.id
        if one.slot != _NO_SLOT:
            remarks.append(
                f"{one.id} says slot {one.slot}, which is {taken[one.slot]}'s; it gets slot {free}."
            )
        yield replace(one, slot=free)


def _slot(text: str) -> int:
    number = int(text) if text.isdecimal() else _NO_SLOT
    return number if FIRST_SLOT <= number <= LAST_SLOT else _NO_SLOT


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
