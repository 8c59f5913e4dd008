"""The registry against what is on disk, in git and in Docker."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.env_file import reader
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import journal
from ktrdr_sandbox.lifecycle.creation import busy_in_slot
from ktrdr_sandbox.lifecycle.doctor.findings import Finding, note, ok, problem
from ktrdr_sandbox.lifecycle.doctor.surroundings import Surroundings
from ktrdr_sandbox.lifecycle.env_files import write_env_file, write_slot
from ktrdr_sandbox.models import ENV_FILE_NAME, FIRST_SLOT, ID_PREFIX, LAST_SLOT, Instance
from ktrdr_sandbox.worktrees.entries import repair_worktree
from ktrdr_sandbox.worktrees.repository import Worktree, worktrees


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
            repair=functools.partial(write_env_file, around.place, instance),
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
        values = reader.read(instance.env_file)
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
                values = reader.read(marker) if marker.is_file() else {}
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
            images = around.place.engine(address).images()
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
    pending = {one.instance_id for one in journal.pending(around.place.home)}
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
        return around.place.settings(owner.path if owner else None).bind_address
    return ""  # the settings' own finding tells why
