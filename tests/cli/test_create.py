"""create and init: the whole output."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.docker_scripts import empty_engine
from tests.support.processes import foreign_listener, heeding_hangups
from tests.support.repositories import git
from tests.support.world import Outcome, World


def links(slot: int) -> str:
    """Addresses of a slot as the architecture document's port map has them."""
    return (
        f"  API         http://localhost:{8000 + slot}\n"
        f"  Grafana     http://localhost:{3000 + slot}\n"
        f"  Jaeger      http://localhost:{16686 + slot}\n"
        f"  Prometheus  http://localhost:{9090 + slot}\n"
        f"  Database    localhost:{5432 + slot}\n"
    )


def ports(slot: int) -> dict[str, int]:
    return {
        "backend": 8000 + slot,
        "db": 5432 + slot,
        "grafana": 3000 + slot,
        "jaeger_ui": 16686 + slot,
        "jaeger_otlp": 4317 + slot,
        "prometheus": 9090 + slot,
        "worker_base": 5000 + 10 * slot,
    }


def test_a_new_branch(world: World, slot: int) -> None:
    outcome = world.run("create", "feat-x", "--slot", str(slot))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == ""
    assert outcome.out == (
        f"Created ktrdr--feat-x (slot {slot})\n"
        "  Directory   <world>/ktrdr--feat-x\n"
        "  Branch      feat-x (new)\n"
        f"{links(slot)}"
        "Next: ktrdr-sandbox up feat-x\n"
    )
    assert list(world.registered()) == ["ktrdr--feat-x"]


def test_an_existing_branch(world: World, slot: int) -> None:
    world.repository.git("branch", "feature/metrics")
    outcome = world.run("create", "m", "--branch", "feature/metrics", "--slot", str(slot))
    assert outcome.exit_code == 0, outcome
    assert outcome.out == (
        f"Created ktrdr--m (slot {slot})\n"
        "  Directory   <world>/ktrdr--m\n"
        "  Branch      feature/metrics\n"
        f"{links(slot)}"
        "Next: ktrdr-sandbox up m\n"
    )


def test_a_branch_of_a_remote(world: World) -> None:
    world.repository.git("branch", "shared")
    clone = world.repository.clone(world.folder / "clones" / "ktrdr")
    outcome = world.run("create", "shared", "--json", cwd=clone.root)
    assert outcome.data["branch"] == "shared"
    path = Path(outcome.data["instance"]["path"])
    assert path == world.folder / "clones" / "ktrdr--shared"
    assert git(path, "rev-parse", "--abbrev-ref", "@{upstream}") == "origin/shared\n"


def test_as_json(world: World, slot: int) -> None:
    outcome = world.run("create", "feat-x", "--slot", str(slot), "--json")
    assert outcome.exit_code == 0, outcome
    document = outcome.document
    made = document["data"]["instance"]
    assert world.shown(made.pop("uuid")) == "<uuid>"
    assert world.shown(made.pop("created_at")) == "<time>"
    assert document == {
        "schema": "ktrdr-sandbox/1",
        "command": "create",
        "ok": True,
        "data": {
            "instance": {
                "id": "ktrdr--feat-x",
                "name": "feat-x",
                "slot": slot,
                "path": str(world.path_of("feat-x")),
                "created_by": "create",
                "is_worktree": True,
                "parent_repo": str(world.repository.root),
                "engine": os.environ["DOCKER_HOST"],
            },
            "branch": "feat-x",
            "new_branch": True,
            "ports": ports(slot),
            "skipped_slots": {},
            "copied": [],
            "not_copied": [],
        },
        "messages": [],
        "error": None,
    }


def test_a_slot_held_by_a_foreign_process(world: World, slot: int) -> None:
    with foreign_listener(8000 + slot) as (port, pid):
        outcome = world.run("create", "feat-x", "--slot", str(slot))
    assert outcome.exit_code == 1, outcome
    assert outcome.out == ""
    head, held, hint = outcome.err.splitlines()
    assert head == (
        f"error: Port {port} is already in use. This could be another sandbox not tracked in the "
        f"registry. Use 'lsof -i :{port}' to identify the process."
    )
    assert held.startswith(f"  {port}: held by ")
    assert held.endswith(f" (pid {pid})")
    assert hint == (
        "hint: Stop what holds it, or use another slot: --slot N, or leave --slot out to get a "
        "free one"
    )
    assert not world.path_of("feat-x").exists()


def told_of_skipping(lines: Sequence[str], slot: int, port: int, pid: int) -> bool:
    """In one sentence, which tells of slots that others hold as well."""
    (line,) = [line for line in lines if " skipped: " in line]
    who, _, what = line.partition(" skipped: ")
    held = re.search(rf"\b{port}\b.*\(pid {pid}\)", what)
    return str(slot) in re.findall(r"\d+", who) and held is not None


@pytest.mark.xdist_group("chosen slots")
def test_a_busy_slot_is_passed_over_and_told(world: World) -> None:
    """The first slot that is free now, made busy: the next create says so and takes another."""
    first = world.run("create", "first", "--json").data
    slot = first["instance"]["slot"]
    world.run("destroy", "first", "--yes", env=empty_engine(world))
    with foreign_listener(first["ports"]["prometheus"]) as (port, pid):
        outcome = created_beyond(world, slot)
        again = created_beyond(world, slot, "--json")
    assert told_of_skipping(outcome.stderr.splitlines(), slot, port, pid), outcome
    assert f"(slot {slot})" not in outcome.stdout
    assert again.data["skipped_slots"][str(slot)] == [port]
    assert told_of_skipping(again.document["messages"], slot, port, pid), again


def created_beyond(world: World, slot: int, *options: str) -> Outcome:
    """A create that came past a slot: a stack of another test may free a lower one meanwhile."""
    while True:
        name = f"feat-{len(world.registered())}"
        outcome = world.run("create", name, *options)
        assert outcome.exit_code == 0, outcome
        if world.registered()[f"ktrdr--{name}"]["slot"] > slot:
            return outcome


def test_two_at_once_get_different_slots(world: World) -> None:
    _ = world.repository
    environment = {**os.environ, "KTRDR_HOME": str(world.home)}
    argv = [sys.executable, "-m", "ktrdr_sandbox", "create"]
    crowd = [
        subprocess.Popen(
            [*argv, f"feat-{number}"],
            cwd=world.repository.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for one in crowd:
        _, complaints = one.communicate()
        assert one.returncode == 0, complaints
    registered = world.registered()
    assert len({entry["slot"] for entry in registered.values()}) == 4
    assert len(world.repository.worktrees()) == 5


# -- interrupted ---------------------------------------------------------------------------------


def signalled(world: World, number: signal.Signals, *prefix: str) -> tuple[int, str, str]:
    """A create that gets a signal while git is at work; its exit status and what it printed."""
    marker = world.folder / "in-the-hook"
    hook = world.repository.root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{marker}'\nsleep 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "ktrdr_sandbox", "create", "feat-x"],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_hangups,
    ) as program:
        while not marker.exists():
            assert program.poll() is None
            time.sleep(0.01)
        program.send_signal(number)
        out, err = program.communicate()
    return program.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_create_leaves_nothing(world: World, number: signal.Signals) -> None:
    status, out, err = signalled(world, number)
    assert status == 130, err
    assert out == ""
    assert err.startswith("error: Interrupted.\n")
    assert "Traceback" not in err
    assert world.registered() == {}
    assert world.repository.branches() == ["main"]
    assert world.repository.worktrees() == [world.repository.root]
    assert not world.path_of("feat-x").exists()


def test_under_nohup_it_outlives_its_terminal(world: World) -> None:
    status, _, err = signalled(world, signal.SIGHUP, "nohup")
    assert status == 0, err
    assert list(world.registered()) == ["ktrdr--feat-x"]


# -- init ----------------------------------------------------------------------------------------


def test_init(world: World, slot: int) -> None:
    outcome = world.run("init", "--slot", str(slot))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == ""
    assert outcome.out == (
        f"Initialised ktrdr--ktrdr (slot {slot})\n"
        "  Directory   <world>/ktrdr\n"
        f"{links(slot)}"
        "Next: ktrdr-sandbox up ktrdr\n"
    )
    assert world.repository.git("status", "--porcelain") == ""


def test_init_in_two_clones_of_one_name(world: World) -> None:
    """Each is told by which name it goes, and a second init by which it is an instance already."""
    clones = [world.repository.clone(world.folder / place / "ktrdr").root for place in ("a", "b")]
    first = world.run("init", "--json", cwd=clones[0]).data["instance"]
    assert first["id"] == "ktrdr--ktrdr"
    outcome = world.run("init", cwd=clones[1])
    assert outcome.exit_code == 0, outcome
    slot = world.registered()["ktrdr--ktrdr-2"]["slot"]
    told = "ktrdr--ktrdr is the instance in <world>/a/ktrdr, so this one is ktrdr--ktrdr-2.\n"
    assert told in outcome.err  # besides what it may say of slots that others hold
    assert outcome.out == (
        f"Initialised ktrdr--ktrdr-2 (slot {slot})\n"
        "  Directory   <world>/b/ktrdr\n"
        f"{links(slot)}"
        "Next: ktrdr-sandbox up ktrdr-2\n"
    )
    for clone, name in zip(clones, ("ktrdr--ktrdr", "ktrdr--ktrdr-2"), strict=True):
        again = world.run("init", cwd=clone)
        assert again.exit_code == 1, again
        assert f"is already initialised as instance {name}.\n" in again.err


def test_init_as_json(world: World, slot: int) -> None:
    outcome = world.run("init", "--slot", str(slot), "--json")
    data = outcome.data
    assert data["instance"]["id"] == "ktrdr--ktrdr"
    assert data["instance"]["created_by"] == "init"
    assert data["instance"]["is_worktree"] is False
    assert data["instance"]["parent_repo"] is None
    assert (data["branch"], data["new_branch"]) == (None, False)
    assert data["ports"] == ports(slot)


def test_init_on_a_slot_with_a_busy_port(world: World, slot: int) -> None:
    with foreign_listener(5432 + slot) as (port, _):
        outcome = world.run("init", "--slot", str(slot))
    assert outcome.exit_code == 3, outcome
    assert outcome.err.startswith(f"error: Port {port} is already in use. This could be another ")
    assert world.registered() == {}
    assert not (world.repository.root / ".env.sandbox").exists()


def test_init_on_a_taken_slot(world: World) -> None:
    slot = world.run("create", "first", "--json").data["instance"]["slot"]
    outcome = world.run("init", "--slot", str(slot))
    assert outcome.exit_code == 3, outcome
    assert outcome.err.startswith(f"error: Slot {slot} is in use by ktrdr--first.\n")
