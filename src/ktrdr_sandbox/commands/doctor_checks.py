"""What doctor looks at: this machine's tools, the state on disk, each instance, and leftovers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.compose_project import write_env_file, write_slot
from ktrdr_sandbox.commands.context import Context, is_locked, recover
from ktrdr_sandbox.commands.create import busy_in_slot
from ktrdr_sandbox.commands.trash import trashed
from ktrdr_sandbox.docker.compose import require_compose
from ktrdr_sandbox.docker.engine import Belonging
from ktrdr_sandbox.docker.environment import current_address
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import private_mode
from ktrdr_sandbox.git.git import git
from ktrdr_sandbox.git.repository import worktrees
from ktrdr_sandbox.git.worktree import repair_worktree
from ktrdr_sandbox.models import FIRST_SLOT, ID_PREFIX, LAST_SLOT, EngineAddress, Instance
from ktrdr_sandbox.paths import ENV_FILE_NAME, checkout_root
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.last_up import known_home_id

Level = Literal["ok", "note", "problem"]

OLDEST_GIT: Final = (2, 36)  # the first whose `worktree list` has `-z` (its release notes)
GIB: Final = 1024**3
LOW: Final = 10 * GIB  # bytes free below which it is worth a note: a few stacks' databases, images
EMPTY: Final = GIB
FIX: Final = "ktrdr-sandbox doctor --fix"
_OTHER_TOOL: Final = "KTRDR's own sandbox tool"
FOREIGN_VERSION: Final = 2  # of the registry that the other tool keeps at the same path


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is a command or a sentence; `repair` is what `doctor --fix` does, None for what it
    leaves to its user. `instance` is the id it is about, "" for the machine."""

    level: Level
    check: str
    text: str
    fix: str = ""
    instance: str = ""
    repair: Callable[[], object] | None = None
    repaired: bool = False


ok = partial(Finding, "ok")
note = partial(Finding, "note")
problem = partial(Finding, "problem")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorContext:
    """What everything of this home is, asked once.

    `instances` is empty, and `registry_error` says why, where the registry cannot be read.
    `here` is today's engine; `belongings` is by engine, `silent` why one did not answer.
    """

    context: Context
    instances: tuple[Instance, ...]
    registry_error: SandboxError | None
    here: EngineAddress
    belongings: Mapping[EngineAddress, tuple[Belonging, ...]]
    silent: Mapping[EngineAddress, SandboxError]
    home_id: str

    def of(self, instance: Instance) -> tuple[Belonging, ...] | None:
        """What an instance has on its engine; None when that does not answer."""
        found = self.belongings.get(instance.engine)
        return None if found is None else tuple(b for b in found if b.uuid == instance.uuid)

    def orphans(self) -> dict[tuple[EngineAddress, str], list[Belonging]]:
        """By engine and uuid: what carries this home's id and belongs to no instance of it."""
        found: dict[tuple[EngineAddress, str], list[Belonging]] = {}
        if not self.home_id or self.registry_error is not None:
            return found
        registered = {instance.uuid for instance in self.instances}
        for address, belongings in self.belongings.items():
            for one in belongings:
                if one.home == self.home_id and one.uuid and one.uuid not in registered:
                    found.setdefault((address, one.uuid), []).append(one)
        return found


def look_around(context: Context) -> DoctorContext:
    """Ask everything once. What does not answer is kept as the reason. Never raises for it.

    The engines are asked before the registry: what was made in between is then registered.
    """
    first, _ = _registered(context)
    here = current_address(context.environment)
    addresses = dict.fromkeys([here, *(one.engine for one in first)])
    answers = {one: run_in_background(context.engine(one).belongings) for one in addresses}
    belongings, silent = {}, {}
    for address, answer in answers.items():
        try:
            belongings[address] = answer.result()
        except SandboxError as failure:
            silent[address] = failure
    instances, error = _registered(context)
    return DoctorContext(
        context=context,
        instances=instances,
        registry_error=error,
        here=here,
        belongings=belongings,
        silent=silent,
        home_id=known_home_id(context.home),
    )


def _registered(context: Context) -> tuple[tuple[Instance, ...], SandboxError | None]:
    try:
        found = context.registry.read().instances.values()
    except SandboxError as error:
        return (), error
    return tuple(sorted(found, key=lambda one: one.slot)), None


def _failed(check: str, error: SandboxError, otherwise: str) -> Finding:
    return problem(check, error.message, error.hints[0] if error.hints else otherwise)


def docker(around: DoctorContext) -> Iterator[Finding]:
    for address, error in around.silent.items():
        yield _failed("docker", error, "docker info")
        if address == around.here:
            return
    try:
        versions = around.context.engine(around.here).versions()
        where = around.here.label
        yield ok("docker", f"Engine {versions.engine} at {where}, client {versions.client}")
        require_compose(versions)
        yield ok("compose", f"Docker Compose {versions.compose}")
    except SandboxError as error:
        yield _failed("compose" if "compose" in error.code else "docker", error, "docker info")


def git_version(_around: DoctorContext) -> Iterator[Finding]:
    try:
        text = git(["--version"], cwd=Path("/")).strip()
    except SandboxError as error:
        yield _failed("git", error, "install git")
        return
    if tuple(int(part) for part in re.findall(r"\d+", text)[:2]) < OLDEST_GIT:
        wanted = ".".join(map(str, OLDEST_GIT))
        yield problem("git", f"{text} is too old: {wanted} is needed", "upgrade git")
    else:
        yield ok("git", text)


def disk(around: DoctorContext) -> Iterator[Finding]:
    """Free space where instances, their worktrees and the engine's data lie."""
    places = [around.context.home.root, *(one.path.parent for one in around.instances)]
    places.append(Path("/var/lib/docker"))  # the engine's default, where it is on this machine
    by_device: dict[int, Path] = {}
    for there in map(_existing, places):
        by_device.setdefault(there.stat().st_dev, there)
    for there in by_device.values():
        free = shutil.disk_usage(there).free
        level: Level = "problem" if free < EMPTY else "note" if free < LOW else "ok"
        fix = "" if level == "ok" else "ktrdr-sandbox gc; docker system df"
        yield Finding(level, "disk", f"{free / GIB:.1f} GiB free at {there}", fix)


def _existing(path: Path) -> Path:
    """The path, or what is there of the folders above it."""
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))


def networks(around: DoctorContext) -> Iterator[Finding]:
    """Docker's built-in pools hold about thirty networks; unused ones take their place too."""
    here = around.belongings.get(around.here)
    if here is None:
        return
    count = sum(1 for one in here if one.kind == "network")
    if count < 20:
        yield ok("networks", f"{count} networks on the engine")
        return
    unused = around.context.engine(around.here).unused_networks()
    names = f": {' '.join(unused)}" if unused else ""
    text = f"{count} networks on the engine; its address pools hold about 30. "
    text += f"{len(unused)} are used by no container{names}"
    yield note("networks", text, "docker network rm NAME, or the setting network_pool")


def settings(around: DoctorContext) -> Iterator[Finding]:
    faults: dict[str, Finding] = {}
    for checkout in (None, *(one.path for one in around.instances if one.path.is_dir())):
        try:
            around.context.settings(checkout)
        except SandboxError as error:
            faults[error.message] = _failed("settings", error, "correct the setting")
    yield from faults.values() or [ok("settings", "the settings are valid")]


def permissions(around: DoctorContext) -> Iterator[Finding]:
    home = around.context.home
    there = _existing(home.sandbox)
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"sudo chown -R {os.getuid()}:{os.getgid()} '{home.root}', or set KTRDR_HOME"
        yield problem("home", f"{there} cannot be written by this user", fix)
        return
    yield ok("home", f"{home.root} can be written")
    for path in (home.registry, *(one.env_file for one in around.instances)):
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0
        wanted = private_mode(home.sandbox) if path == home.registry else 0o600
        if mode & 0o777 & ~wanted:
            text = f"{path} can be read by others (mode {mode:03o})"
            repair = partial(path.chmod, wanted)
            yield problem("permissions", text, f"chmod {wanted:o} '{path}'", repair=repair)


def registry(around: DoctorContext) -> Iterator[Finding]:
    folder, error = around.context.home.sandbox, around.registry_error
    path = folder / "instances.json"
    try:
        is_foreign = bool(json.loads(path.read_bytes())["version"] == FOREIGN_VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        is_foreign = False
    if is_foreign:
        yield Finding(
            "note" if error is None else "problem",
            "registry",
            f"{path} is the registry of {_OTHER_TOOL}, and left as it is; its slots count as taken",
            "to keep the two apart, set KTRDR_HOME to a folder of its own for ktrdr-sandbox",
        )
    if error is None:
        count = len(around.instances)
        yield ok("registry", f"{count} {'instance' if count == 1 else 'instances'} registered")
        for damaged in sorted(folder.glob("instances.json.damaged-*")):
            yield note(
                "registry", f"{damaged} is a damaged registry that was set aside", "remove it"
            )
    elif not is_foreign:
        yield _failed("registry", error, "see the message")


def pending(around: DoctorContext) -> Iterator[Finding]:
    """Commands that were killed. Those that run are none."""
    context = around.context
    for one in journal.pending(context.home):
        identity = one.instance_id
        name = identity.removeprefix(ID_PREFIX)
        what = f"'{one.operation} {name}' (pid {one.pid}, since {one.since})"
        if is_locked(context, identity):
            yield note("journal", f"{what} is under way", instance=identity)
        else:
            text = f"{what} was killed at {one.last_step}; the next command on {name} ends it"
            yield problem("journal", text, FIX, identity, partial(recover, context, identity))


def directories(around: DoctorContext) -> Iterator[Finding]:
    """Each instance's directory, its marker, and git's idea of it."""
    for instance in around.instances:
        found = list(_directory(around.context, instance))
        yield from found or [ok("instance", f"{instance.id}: slot {instance.slot}, in order")]


def _directory(context: Context, instance: Instance) -> Iterator[Finding]:
    if instance.state != "created":
        return  # a killed command; the journal's finding tells of it
    trouble = partial(problem, "instance", instance=instance.id)
    path, marker, parent = instance.path, instance.env_file, instance.parent_repo
    if not path.is_dir():
        fix = f"{own_commands.on(instance.name, 'destroy')}, or ktrdr-sandbox gc --yes"
        yield trouble(f"{instance.id}: its directory is gone: {path}", fix)
        return
    if not marker.is_file():
        repair = partial(write_env_file, context, instance)
        yield trouble(f"{instance.id}: {marker} is missing", FIX, repair=repair)
    elif fault := _fault_of(marker, instance):
        yield trouble(fault, f"rm '{marker}', then {own_commands.on(instance.name, 'up')}")
    elif (slot := env_file.read(marker).get("SLOT_NUMBER")) != str(instance.slot):
        text = f"{marker} tells slot {slot}; it is {instance.slot}"
        yield trouble(text, FIX, repair=partial(write_slot, instance))
    if not instance.is_worktree or parent is None or not parent.is_dir():
        return
    if path.resolve() not in {one.resolve() for one in _worktrees(parent)}:
        yield trouble(
            f"{instance.id}: git does not list {path} as a worktree of {parent}",
            f"git -C '{parent}' worktree repair '{path}'",
            repair=partial(repair_worktree, parent, path),
        )


def _fault_of(marker: Path, instance: Instance) -> str:
    """Why that cannot be the file of the instance, or nothing."""
    try:
        values = env_file.read(marker)
    except SandboxError as error:
        return error.message
    if "SANDBOX_UUID" not in values and values:
        return f"{marker} was written by {_OTHER_TOOL}"
    if values.get("SANDBOX_UUID", instance.uuid) != instance.uuid:
        return f"{marker} belongs to another instance ({values.get('INSTANCE_ID')})"
    return ""


def _worktrees(main: Path) -> list[Path]:
    with contextlib.suppress(SandboxError):
        return [one.path for one in worktrees(main)]
    return []


def strangers(around: DoctorContext) -> Iterator[Finding]:
    """Checkouts with a marker that no entry knows."""
    known = {one.uuid for one in around.instances}
    registered = {one.path for one in around.instances}
    mains = dict.fromkeys(one.parent_repo for one in around.instances if one.parent_repo)
    found = [path for main in mains if main.is_dir() for path in _worktrees(main)]
    here = checkout_root(around.context.cwd)
    for root in dict.fromkeys([*found, *([here] if here else [])]):
        marker = root / ENV_FILE_NAME
        try:
            values = env_file.read(marker) if marker.is_file() else {}
        except SandboxError:
            continue
        if not values or values.get("SANDBOX_UUID") in known:
            continue
        if "SANDBOX_UUID" in values:
            text = f"{root} is marked as {values.get('INSTANCE_ID')}, which is not registered "
            text += "here; it may belong to another KTRDR_HOME"
            fix = f"rm '{marker}' and 'ktrdr-sandbox init' there, if it is yours"
            yield note("worktree", text, fix)
        elif root not in registered:  # else it is told of that instance
            text = f"{marker} is of {_OTHER_TOOL} (slot {values.get('SLOT_NUMBER', '?')}); "
            text += "slots whose ports its stack holds are passed over"
            fix = "end that stack with its own tool before 'ktrdr-sandbox init' there"
            yield note("worktree", text, fix)


def orphans(around: DoctorContext) -> Iterator[Finding]:
    """Things in Docker that carry this home's id and belong to no instance; and others' things."""
    for (address, uuid), things in around.orphans().items():
        names = ", ".join(f"{one.kind} {one.name}" for one in things)
        text = f"on {address.label}: {names} belong to no instance any more (uuid {uuid})"
        yield problem("orphan", text, "ktrdr-sandbox gc --yes")
    for address, found in around.belongings.items():
        others = {one.instance_id for one in found if one.uuid and one.home != around.home_id}
        others -= {one.id for one in around.instances}
        if others:
            text = f"on {address.label} are instances of another KTRDR_HOME: "
            yield note("other-home", text + ", ".join(sorted(others)))


def image_tags(around: DoctorContext) -> Iterator[Finding]:
    """Tags of an instance that is not registered here. They carry no label, so nothing tells whose
    they are, and no command takes them away."""
    known = {one.id for one in around.instances}
    for address, found in around.belongings.items():
        known_there = known | {one.instance_id for one in found}
        with contextlib.suppress(SandboxError):
            images = around.context.engine(address).images()
            mine = (one for one in images if one.startswith(ID_PREFIX) and "/" in one)
            tags = sorted(one for one in mine if one.partition("/")[0] not in known_there)
            if tags:
                text = f"on {address.label} are image tags of instances that are not registered "
                fix = f"docker image rm {' '.join(tags)}, if no other KTRDR_HOME uses them"
                yield note("images", f"{text}here: {', '.join(tags)}", fix)


def leavings(around: DoctorContext) -> Iterator[Finding]:
    """Directories that a destroy renamed and that no journal tells of any more."""
    pending = {one.instance_id for one in journal.pending(around.context.home)}
    mains = {one.parent_repo for one in around.instances if one.parent_repo is not None}
    for folder in sorted({main.parent for main in mains}):
        for path in sorted(folder.glob(f".{ID_PREFIX}*.removing-*")):
            if path.name[1:].partition(".removing-")[0] not in pending:
                text = (
                    f"{path} is what a destroy had begun to delete, here or in another KTRDR_HOME"
                )
                yield note("leavings", text, f"look into it, then rm -r '{path}'")


def ports(around: DoctorContext) -> Iterator[Finding]:
    """Slots whose ports somebody holds."""
    by_slot = {one.slot: one for one in around.instances}
    for slot in range(FIRST_SLOT, LAST_SLOT + 1):
        owner = by_slot.get(slot)
        things = None if owner is None else around.of(owner)
        if owner is not None and (things is None or any(o.kind == "container" for o in things)):
            continue  # its own containers hold them
        try:
            bind = around.context.settings(owner.path if owner else None).bind_address
        except SandboxError:
            continue  # the settings' own finding tells why
        held = ", ".join(str(port) for port in busy_in_slot(slot, bind))
        if held and owner is None:
            yield note("ports", f"slot {slot} is passed over while these ports are in use: {held}")
        elif held and owner is not None:
            text = f"{owner.id}: slot {slot} is blocked by others: {held}"
            move = own_commands.on(owner.name, "move", "--slot N")
            yield problem("ports", text, f"end what holds them, or {move}", owner.id)


def trash(around: DoctorContext) -> Iterator[Finding]:
    found = trashed(around.context.home)
    if found:
        oldest = found[0][1]
        text = f"{len(found)} in {around.context.home.trash}, the oldest {oldest:.0f} days old"
        yield note("trash", text, "ktrdr-sandbox gc")


CHECKS: Final[tuple[Callable[[DoctorContext], Iterator[Finding]], ...]] = (
    *(docker, git_version, disk, networks, settings, permissions, registry, pending, directories),
    *(strangers, orphans, image_tags, leavings, ports, trash),
)
"""In the order of the report."""
