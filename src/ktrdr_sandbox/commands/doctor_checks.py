"""Docker, Compose, git, disk and settings: what every command needs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from ktrdr_sandbox.git.repository import Worktree, worktrees
from ktrdr_sandbox.git.worktree import repair_worktree
from ktrdr_sandbox.models import (
    ENV_FILE_NAME,
    FIRST_SLOT,
    ID_PREFIX,
    LAST_SLOT,
    EngineAddress,
    Instance,
)
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.last_up import known_home_id

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`fix` is a command or a sentence; `repair` is what `doctor --fix` does, None for what it
    leaves to its user. `instance` is the id it is about, "" for the machine."""

    check: str
    level: Level
    text: str
    fix: str = ""
    instance: str = ""
    repair: Callable[[], None] | None = None
    repaired: bool = False


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def note(check: str, text: str, *, fix: str = "", instance: str = "") -> Finding:
    return Finding(check=check, level="note", text=text, fix=fix, instance=instance)


def problem(
    check: str,
    text: str,
    *,
    fix: str,
    instance: str = "",
    repair: Callable[[], None] | None = None,
) -> Finding:
    return Finding(
        check=check, level="problem", text=text, fix=fix, instance=instance, repair=repair
    )


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Belongings by engine, and for an engine that did not answer, why. `here` is today's."""

    here: EngineAddress
    belongings: Mapping[EngineAddress, tuple[Belonging, ...]]
    silent: Mapping[EngineAddress, SandboxError]

    @functools.cached_property
    def by_uuid(self) -> Mapping[tuple[EngineAddress, str], tuple[Belonging, ...]]:
        """What is each instance's, told apart once however many there are."""
        found: dict[tuple[EngineAddress, str], list[Belonging]] = {}
        for address, belongings in self.belongings.items():
            for one in belongings:
                found.setdefault((address, one.uuid), []).append(one)
        return {key: tuple(ones) for key, ones in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`instances` is empty, and `registry_error` says why, where the registry cannot be read."""

    context: Context
    instances: tuple[Instance, ...]
    registry_error: SandboxError | None
    engines: Engines
    home_id: str

    def of(self, instance: Instance) -> tuple[Belonging, ...] | None:
        """What an instance has on its engine; None when that does not answer."""
        if instance.engine not in self.engines.belongings:
            return None
        return self.engines.by_uuid.get((instance.engine, instance.uuid), ())

    def orphans(self) -> dict[tuple[EngineAddress, str], list[Belonging]]:
        """By engine and uuid: what carries this home's id and belongs to no instance of it."""
        if not self.home_id or self.registry_error is not None:
            return {}
        registered = {instance.uuid for instance in self.instances}
        found: dict[tuple[EngineAddress, str], list[Belonging]] = {}
        for address, belongings in self.engines.belongings.items():
            for one in belongings:
                if one.home == self.home_id and one.uuid and one.uuid not in registered:
                    found.setdefault((address, one.uuid), []).append(one)
        return found


def look_around(context: Context) -> Surroundings:
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
    return Surroundings(
        context=context,
        instances=instances,
        registry_error=error,
        engines=Engines(here=here, belongings=belongings, silent=silent),
        home_id=known_home_id(context.home),
    )


def _registered(context: Context) -> tuple[tuple[Instance, ...], SandboxError | None]:
    try:
        found = context.registry.read().instances.values()
    except SandboxError as error:
        return (), error
    return tuple(sorted(found, key=lambda one: one.slot)), None


def permissions(around: Surroundings) -> Iterator[Finding]:
    home = around.context.home
    there = next((p for p in (home.sandbox, *home.sandbox.parents) if p.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        fix = f"sudo chown -R {os.getuid()}:{os.getgid()} '{home.root}', or set KTRDR_HOME"
        yield problem("home", f"{there} cannot be written by this user", fix=fix)
        return
    yield ok("home", f"{home.root} can be written")
    secret = [home.registry, *(one.env_file for one in around.instances)]
    for path in secret:
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0
        wanted = private_mode(home.sandbox) if path == home.registry else 0o600
        if mode & 0o777 & ~wanted:
            yield problem(
                "permissions",
                f"{path} can be read by others (mode {mode:03o})",
                fix=f"chmod {wanted:o} '{path}'",
                repair=functools.partial(path.chmod, wanted),
            )


def registry(around: Surroundings) -> Iterator[Finding]:
    error = around.registry_error
    if error is not None:
        fix = error.hints[0] if error.hints else "see the message"
        yield problem("registry", error.message, fix=fix)
        return
    count = len(around.instances)
    yield ok("registry", f"{count} {'instance' if count == 1 else 'instances'} registered")
    for path in sorted(around.context.home.sandbox.glob("instances.json.damaged-*")):
        yield note("registry", f"{path} is a damaged registry that was set aside", fix="remove it")


def pending(around: Surroundings) -> Iterator[Finding]:
    """Commands that were killed. Those that run are none."""
    context = around.context
    for one in journal.pending(context.home):
        name = one.instance_id.removeprefix(ID_PREFIX)
        what = f"'{one.operation} {name}' (pid {one.pid}, since {one.since})"
        if is_locked(context, one.instance_id):
            yield note("journal", f"{what} is under way", instance=one.instance_id)
            continue
        yield problem(
            "journal",
            f"{what} was killed at {one.last_step}; the next command on {name} ends it",
            fix="ktrdr-sandbox doctor --fix",
            instance=one.instance_id,
            repair=functools.partial(_recover, around, one.instance_id),
        )


def _recover(around: Surroundings, instance_id: str) -> None:
    recover(around.context, instance_id)


def trash(around: Surroundings) -> Iterator[Finding]:
    found = trashed(around.context.home)
    if found:
        oldest = max(one.age_days for one in found)
        yield note(
            "trash",
            f"{len(found)} in {around.context.home.trash}, the oldest {oldest:.0f} days old",
            fix="ktrdr-sandbox gc",
        )


def directories(around: Surroundings) -> Iterator[Finding]:
    """Each instance's directory, its marker, and git's idea of it."""
    for instance in around.instances:
        found = list(_directory(around, instance))
        yield from found or [ok("instance", f"{instance.id}: slot {instance.slot}, in order")]


def _directory(around: Surroundings, instance: Instance) -> Iterator[Finding]:
    if instance.state != "created":
        return  # a killed command; the journal's finding tells of it
    problem_of = functools.partial(problem, "instance", instance=instance.id)
    if not instance.path.is_dir():
        yield problem_of(
            f"{instance.id}: its directory is gone: {instance.path}",
            fix=f"{own_commands.on(instance.name, 'destroy')}, or ktrdr-sandbox gc --yes",
        )
        return
    if not instance.env_file.is_file():
        yield problem_of(
            f"{instance.id}: {instance.env_file} is missing",
            fix="ktrdr-sandbox doctor --fix",
            repair=functools.partial(write_env_file, around.context, instance),
        )
    else:
        yield from _marker(instance)
    parent = instance.parent_repo
    if instance.is_worktree and parent is not None and parent.is_dir():
        listed = {one.path.resolve() for one in _worktrees(parent)}
        if instance.path.resolve() not in listed:
            yield problem_of(
                f"{instance.id}: git does not list {instance.path} as a worktree of {parent}",
                fix=f"git -C '{parent}' worktree repair '{instance.path}'",
                repair=functools.partial(repair_worktree, parent, instance.path),
            )


def _marker(instance: Instance) -> Iterator[Finding]:
    problem_of = functools.partial(problem, "instance", instance=instance.id)
    write_anew = f"rm '{instance.env_file}', then {own_commands.on(instance.name, 'up')}"
    try:
        values = env_file.read(instance.env_file)
    except SandboxError as error:
        yield problem_of(error.message, fix=write_anew)
        return
    if values.get("SANDBOX_UUID", instance.uuid) != instance.uuid:
        yield problem_of(
            f"{instance.env_file} belongs to another instance ({values.get('INSTANCE_ID')})",
            fix=write_anew,
        )
    elif values.get("SLOT_NUMBER") != str(instance.slot):
        yield problem_of(
            f"{instance.env_file} tells slot {values.get('SLOT_NUMBER')}; it is {instance.slot}",
            fix="ktrdr-sandbox doctor --fix",
            repair=functools.partial(write_slot, instance),
        )


def _worktrees(main: Path) -> list[Worktree]:
    with contextlib.suppress(SandboxError):
        return worktrees(main)
    return []


def strangers(around: Surroundings) -> Iterator[Finding]:
    """Worktrees with a marker that no entry knows."""
    known = {one.uuid for one in around.instances}
    for main in dict.fromkeys(one.parent_repo for one in around.instances):
        for worktree in _worktrees(main) if main is not None and main.is_dir() else ():
            marker = worktree.path / ENV_FILE_NAME
            with contextlib.suppress(SandboxError):
                values = env_file.read(marker) if marker.is_file() else {}
                if values and values.get("SANDBOX_UUID") not in known:
                    yield note(
                        "worktree",
                        f"{worktree.path} is marked as {values.get('INSTANCE_ID')}, which is not "
                        "registered here; it may belong to another KTRDR_HOME",
                        fix=f"rm '{marker}' and 'ktrdr-sandbox init' there, if it is yours",
                    )


def orphans(around: Surroundings) -> Iterator[Finding]:
    """Things in Docker that carry this home's id and belong to no instance; and others' things."""
    for (address, uuid), things in around.orphans().items():
        names = ", ".join(f"{one.kind} {one.name}" for one in things)
        yield problem(
            "orphan",
            f"on {address.label}: {names} belong to no instance any more (uuid {uuid})",
            fix="ktrdr-sandbox gc --yes",
        )
    for address, found in around.engines.belongings.items():
        others = {one.instance_id for one in found if one.uuid and one.home != around.home_id}
        others -= {one.id for one in around.instances}
        if others:
            yield note(
                "other-home",
                f"on {address.label} are instances of another KTRDR_HOME: "
                f"{', '.join(sorted(others))}",
            )


def image_tags(around: Surroundings) -> Iterator[Finding]:
    """Tags of an instance that is not registered here. They carry no label, so nothing tells whose
    they are, and no command takes them away."""
    known = {one.id for one in around.instances}
    for address, found in around.engines.belongings.items():
        known_there = known | {one.instance_id for one in found}
        with contextlib.suppress(SandboxError):
            images = around.context.engine(address).images()
            mine = (one for one in images if one.startswith(ID_PREFIX) and "/" in one)
            tags = sorted(one for one in mine if one.partition("/")[0] not in known_there)
            if tags:
                yield note(
                    "images",
                    f"on {address.label} are image tags of instances that are not registered here: "
                    f"{', '.join(tags)}",
                    fix=f"docker image rm {' '.join(tags)}, if no other KTRDR_HOME uses them",
                )


def leavings(around: Surroundings) -> Iterator[Finding]:
    """Directories that a destroy renamed and that no journal tells of any more."""
    pending = {one.instance_id for one in journal.pending(around.context.home)}
    mains = {one.parent_repo for one in around.instances if one.parent_repo is not None}
    for folder in sorted({main.parent for main in mains}):
        for path in sorted(folder.glob(f".{ID_PREFIX}*.removing-*")):
            if path.name[1:].partition(".removing-")[0] not in pending:
                yield note(
                    "leavings",
                    f"{path} is what a destroy had begun to delete, here or in another KTRDR_HOME",
                    fix=f"look into it, then rm -r '{path}'",
                )


def ports(around: Surroundings) -> Iterator[Finding]:
    """Slots whose ports somebody holds."""
    by_slot = {one.slot: one for one in around.instances}
    for slot in range(FIRST_SLOT, LAST_SLOT + 1):
        owner = by_slot.get(slot)
        things = None if owner is None else around.of(owner)
        if owner is not None and (things is None or any(o.kind == "container" for o in things)):
            continue  # its own containers hold them
        bind = _bind_address(around, owner)
        busy = busy_in_slot(slot, bind) if bind else []
        if not busy:
            continue
        held = ", ".join(str(port) for port in busy)
        if owner is None:
            yield note("ports", f"slot {slot} is passed over while these ports are in use: {held}")
        else:
            yield problem(
                "ports",
                f"{owner.id}: slot {slot} is blocked by others: {held}",
                fix=f"end what holds them, or {own_commands.on(owner.name, 'move', '--slot N')}",
                instance=owner.id,
            )


def _bind_address(around: Surroundings, owner: Instance | None) -> str:
    with contextlib.suppress(SandboxError):
        return around.context.settings(owner.path if owner else None).bind_address
    return ""  # the settings' own finding tells why


OLDEST_GIT: Final = (2, 36)
"""First git whose `worktree list` has `-z` (its release notes)."""

GIB: Final = 1024**3
LOW: Final = 10 * GIB
"""Bytes free below which it is worth a note: a few stacks' databases and images."""
EMPTY: Final = GIB


def docker(around: Surroundings) -> Iterator[Finding]:
    here = around.engines.here
    for address, error in around.engines.silent.items():
        hint = error.hints[0] if error.hints else "docker info"
        yield problem("docker", error.message, fix=hint)
        if address == here:
            return
    try:
        versions = around.context.engine(here).versions()
        yield ok("docker", f"Engine {versions.engine} at {here.label}, client {versions.client}")
        require_compose(versions)
        yield ok("compose", f"Docker Compose {versions.compose}")
    except SandboxError as error:
        check = "compose" if "compose" in error.code else "docker"
        yield problem(check, error.message, fix=error.hints[0] if error.hints else "docker info")


def git_version(_around: Surroundings) -> Iterator[Finding]:
    try:
        text = git(["--version"], cwd=Path("/")).strip()
    except SandboxError as error:
        yield problem("git", error.message, fix=error.hints[0] if error.hints else "install git")
        return
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if numbers < OLDEST_GIT:
        wanted = ".".join(str(part) for part in OLDEST_GIT)
        yield problem("git", f"{text} is too old: {wanted} is needed", fix="upgrade git")
        return
    yield ok("git", text)


def disk(around: Surroundings) -> Iterator[Finding]:
    """Free space where instances, their worktrees and the engine's data lie."""
    places = [around.context.home.root, *(one.path.parent for one in around.instances)]
    places.append(Path("/var/lib/docker"))  # the engine's default, where it is on this machine
    seen: set[int] = set()
    for context in places:
        there = next((p for p in (context, *context.parents) if p.exists()), Path("/"))
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        text = f"{free / GIB:.1f} GiB free at {there}"
        if free < EMPTY:
            yield problem("disk", text, fix="ktrdr-sandbox gc; docker system df")
        elif free < LOW:
            yield note("disk", text, fix="ktrdr-sandbox gc; docker system df")
        else:
            yield ok("disk", text)


def networks(around: Surroundings) -> Iterator[Finding]:
    """Docker's built-in pools hold about thirty networks; unused ones take their place too."""
    here = around.engines.belongings.get(around.engines.here)
    if here is None:
        return
    count = sum(1 for one in here if one.kind == "network")
    if count < 20:
        yield ok("networks", f"{count} networks on the engine")
        return
    unused = around.context.engine(around.engines.here).unused_networks()
    names = f": {' '.join(unused)}" if unused else ""
    yield note(
        "networks",
        f"{count} networks on the engine; its address pools hold about 30. "
        f"{len(unused)} are used by no container{names}",
        fix="docker network rm NAME, or the setting network_pool",
    )


def settings(around: Surroundings) -> Iterator[Finding]:
    checkouts = [None, *(one.path for one in around.instances if one.path.is_dir())]
    told: set[str] = set()
    for checkout in checkouts:
        try:
            around.context.settings(checkout)
        except SandboxError as error:
            if error.message not in told:
                told.add(error.message)
                fix = error.hints[0] if error.hints else "correct the setting"
                yield problem("settings", error.message, fix=fix)
    if not told:
        yield ok("settings", "the settings are valid")
