"""SIGKILL at every point where a command changes something; then one ordinary command.

Afterwards there is no half instance, no double slot, no lost file and no residue.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.faults.world import IGNORED, Ending, FaultWorld
from tests.support.labels import LABEL_UUID

PHASES = ("after", "both", "orphan")
NAME = "feat-x"
ID = f"ktrdr--{NAME}"


@dataclass(frozen=True)
class Scenario:
    """`prepare` makes the world as it is before, `argv` is killed, `after` are next commands."""

    prepare: Callable[[FaultWorld], None]
    argv: tuple[str, ...]
    after: tuple[tuple[str, ...], ...]
    inside: str = "ktrdr"
    work: str | None = None
    """A file of the instance that must exist afterwards, in its place or in the trash."""


def nothing(_world: FaultWorld) -> None:
    return


def created(world: FaultWorld) -> None:
    world.ok("create", NAME)


def with_hooks(world: FaultWorld) -> None:
    """One before and one after what the command does."""
    created(world)
    hooks = 'after_ready = ["true"]\nbefore_destroy = ["true"]'
    (world.home / "sandbox" / "config.toml").write_text(f"[hooks]\n{hooks}\n", encoding="utf-8")


def running(world: FaultWorld) -> None:
    created(world)
    world.ok("up", NAME, "--no-wait")


def running_with_work(world: FaultWorld) -> None:
    running(world)
    world.checkout(NAME).write({"work": "precious"})


def cloned(world: FaultWorld) -> None:
    world.repository.clone(world.path_of(NAME)).write({"work": "precious"})


def free_branch(world: FaultWorld) -> None:
    world.repository.git("branch", NAME)


STATUS = ("status", NAME)
UP = ("up", NAME, "--no-wait")
DOWN = ("down", NAME, "--now")
DESTROY = ("destroy", NAME, "--yes")
CREATE = ("create", NAME)


def orphaned(world: FaultWorld) -> None:
    running(world)
    shutil.rmtree(world.path_of(NAME))


def deserted(world: FaultWorld) -> None:
    created(world)
    shutil.rmtree(world.path_of(NAME))


def unmarked(world: FaultWorld) -> None:
    running(world)
    (world.path_of(NAME) / ".env.sandbox").unlink()


GC = ("gc", "--yes")
FIX = ("doctor", "--fix")
MOVE = ("move", NAME, "--slot", "9")
SCENARIOS = {
    "create": Scenario(nothing, CREATE, (CREATE, STATUS, DESTROY, UP)),
    "create-on-branch": Scenario(free_branch, CREATE, (CREATE, STATUS, DESTROY)),
    "init": Scenario(cloned, ("init",), (("init",), STATUS, DESTROY), inside=ID, work="work"),
    "up": Scenario(created, UP, (UP, STATUS, DOWN, DESTROY)),
    "up-again": Scenario(running, UP, (UP, STATUS, DESTROY)),
    "move": Scenario(created, MOVE, (MOVE, UP, DESTROY)),
    "down": Scenario(running, (*DOWN, "--volumes"), (DOWN, STATUS, UP, DESTROY)),
    "gc": Scenario(orphaned, GC, (GC, DESTROY)),
    "list": Scenario(deserted, ("list",), (("list",), DESTROY, GC)),
    "doctor": Scenario(unmarked, FIX, (FIX, UP, DESTROY)),
    "destroy": Scenario(running, DESTROY, (DESTROY, STATUS, UP, CREATE)),
    "destroy-with-hook": Scenario(with_hooks, DESTROY, (DESTROY, STATUS, UP)),
    "destroy-with-work": Scenario(
        running_with_work,
        (*DESTROY, "--force"),
        ((*DESTROY, "--force"), STATUS, UP),
        work="work",
    ),
    "destroy-and-keep": Scenario(
        running_with_work,
        (*DESTROY, "--keep-worktree"),
        ((*DESTROY, "--keep-worktree"), STATUS, UP),
        work="work",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.timeout(600)
def test_no_kill_leaves_a_riddle(
    name: str, empty_world: FaultWorld, record_property: Callable[[str, object], None]
) -> None:
    scenario, world = SCENARIOS[name], empty_world
    world.ok("create", "other")
    world.ok("up", "other", "--no-wait")
    world.checkout("other").write({"work": "of somebody"})
    scenario.prepare(world)
    world.keep()
    where = world.root / scenario.inside
    whole = world.run(*scenario.argv, cwd=where, keep=True)
    assert whole.status == 0, whole
    assert consistent(world, scenario) == []

    follow = itertools.cycle(scenario.after)

    def goes_on(point: str) -> None:
        """One ordinary command after a kill, and all is well."""
        then = world.run(*next(follow), cwd=where if where.is_dir() else None)
        shown = f"killed {point}, then {' '.join(then.argv)}"
        assert not consistent(world, scenario), (shown, consistent(world, scenario), then)
        assert then.status in (0, *allowed(then)), f"{shown}: {then.status}\n{then.output}"

    for at, label in enumerate(whole.points):
        if at == 0 or whole.kept[at] != whole.kept[at - 1]:
            world.take(whole.kept[at])
            goes_on(f"before {label!r}")
    kills = [(at, phase) for at in changing(whole) for phase in ("before", *PHASES)]
    for at, phase in kills:
        world.restore()
        killed = world.run(*scenario.argv, cwd=where, kill_at=at, phase=phase)
        assert killed.killed, (whole.points[at], phase, killed)
        if phase == "both":  # a git that is killed itself says of its lock: remove it manually
            for lock in world.root.glob("*/.git/**/*.lock"):
                lock.unlink()
        goes_on(f"{phase} {whole.points[at]!r}")
    record_property(
        "kill points", len(whole.points) + len(PHASES) * len(kills) // (len(PHASES) + 1)
    )


def changing(whole: Ending) -> list[int]:
    """The points that start a git which changes something: really killed, in further ways."""
    starts = ("start git worktree add", "start git worktree remove", "start git update-ref")
    return [at for at, label in enumerate(whole.points) if label.startswith(starts)]


def allowed(then: Ending) -> tuple[int, ...]:
    """Statuses other than success: the instance is not there (any more), or there already."""
    return {"create": (1, 3), "init": (1,)}.get(then.argv[0], (66,))


def consistent(world: FaultWorld, scenario: Scenario) -> list[str]:
    """What is wrong with the world, in words."""
    return [
        *(f"residue: {path}" for path in world.residue()),
        *wrong_entries(world),
        *wrong_worktrees(world),
        *wrong_resources(world),
        *wrong_exclude(world),
        *lost_work(world, scenario),
        *wrong_copies(world),
    ]


def wrong_entries(world: FaultWorld) -> Iterator[str]:
    entries = world.registered()
    slots = [entry["slot"] for entry in entries.values()]
    if len(set(slots)) != len(slots):
        yield f"double slot: {entries}"
    for identity, entry in entries.items():
        marker = Path(entry["path"]) / ".env.sandbox"
        if entry["state"] != "created" or not marker.is_file():
            yield f"half an instance: {identity} {entry}"
            continue
        values = dotenv_values(marker)
        if (values["SANDBOX_UUID"], values["SLOT_NUMBER"]) != (entry["uuid"], str(entry["slot"])):
            yield f"a marker of something else: {identity} {values}"
    states = {path.name for path in (world.home / "sandbox" / "instances").glob("*")}
    if not states <= set(entries):
        yield f"left state folders: {states - set(entries)}"


def wrong_copies(world: FaultWorld) -> Iterator[str]:
    """An instance that create made has all of its ignored files, whole."""
    for entry in world.registered().values():
        for name in IGNORED if entry["created_by"] == "create" else ():
            copy, source = Path(entry["path"]) / name, world.repository.root / name
            if not copy.is_file() or copy.read_bytes() != source.read_bytes():
                yield f"copy: {copy}"


def wrong_worktrees(world: FaultWorld) -> Iterator[str]:
    entries = world.registered().values()
    expected = {Path(entry["path"]) for entry in entries if entry["is_worktree"]}
    listed = set(world.repository.worktrees()[1:])
    kept = {world.path_of(NAME)} if (world.path_of(NAME) / "work").exists() else set()
    if listed - kept != expected - kept:
        yield f"worktrees: git lists {listed}, registered are {expected}"
    administered = list((world.repository.root / ".git" / "worktrees").glob("*"))
    if len(administered) != len(listed):
        yield f"git's own entries: {administered}"
    folders = set(world.root.glob("ktrdr--*"))
    if folders - kept != {Path(entry["path"]) for entry in entries} - kept:
        yield f"folders: {folders}"


def wrong_resources(world: FaultWorld) -> Iterator[str]:
    engine = world.engine_now()
    uuids = {entry["uuid"] for entry in world.registered().values()}
    for name, labels in (*engine._networks.items(), *engine._volumes.items()):
        if labels.get(LABEL_UUID) not in uuids:
            yield f"left on the engine: {name}"
    for container in engine.held.values():
        if container.labels[LABEL_UUID] not in uuids:
            yield f"left on the engine: {container.detail.name}"
    for image in engine._images:
        if image.startswith("ktrdr--") and image.partition("/")[0] not in world.registered():
            yield f"left image tag: {image}"


def wrong_exclude(world: FaultWorld) -> Iterator[str]:
    for main in (world.repository.root, world.path_of(NAME)):
        path = main / ".git" / "info" / "exclude"
        if not path.is_file():
            continue
        markers = [worktree / ".env.sandbox" for worktree in (main, *_linked(main))]
        needed = any(marker.exists() for marker in markers)
        if needed != ("# ktrdr-sandbox" in path.read_text(encoding="utf-8").splitlines()):
            yield f"{path} does not fit: needed is {needed}"


def _linked(main: Path) -> list[Path]:
    return [
        Path((entry / "gitdir").read_text(encoding="utf-8").strip()).parent
        for entry in (main / ".git" / "worktrees").glob("*")
    ]


def lost_work(world: FaultWorld, scenario: Scenario) -> Iterator[str]:
    if (world.path_of("other") / "work").read_text(encoding="utf-8") != "of somebody":
        yield "another instance's work"
    if world.repository.git("status", "--porcelain"):
        yield f"the main checkout: {world.repository.git('status', '--porcelain')}"
    if scenario.work is not None:
        places = [world.path_of(NAME), *(world.home / "sandbox" / "trash").glob("*")]
        found = [place / scenario.work for place in places if (place / scenario.work).is_file()]
        if [path.read_text(encoding="utf-8") for path in found] != ["precious"]:
            yield f"work: found {found}"
    branches = set(world.repository.branches())
    if not {"main", "other"} <= branches:
        yield f"lost branches: {branches}"
    if scenario.argv[0] == "create" and scenario.prepare is nothing:
        complete = ID in world.registered()
        if not complete and NAME in branches and not _was_complete(world):
            yield "a left branch"


def _was_complete(world: FaultWorld) -> bool:
    """A destroy after a create that was killed when all was done leaves the branch, as ever."""
    return bool(world.repository.git("reflog", "show", NAME, "--")) and not _has_worktree(world)


def _has_worktree(world: FaultWorld) -> bool:
    return world.path_of(NAME) in world.repository.worktrees()
