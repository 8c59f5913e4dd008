"""up and down: waiting or not, again, over a busy port, building, interrupted."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support.http import eventually
from tests.support.stacks import Sandbox, Stack, image_id

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("shared stack"),
    pytest.mark.timeout(300),
]

BASE_IMAGE = "ktrdr-backend:dev"


def test_no_wait_starts_everything_and_does_not_prove_it(place: Sandbox, stack: Stack) -> None:
    data = place.up(stack, "--no-wait").expect(0).data
    assert data["gate"] is None
    assert {c["State"]["Status"] for c in stack.containers()} == {"running"}
    assert len(stack.containers()) == 3


def test_a_second_up_changes_nothing(place: Sandbox, stack: Stack) -> None:
    first = place.up(stack).expect(0).data
    before = {c["Id"]: c["State"]["StartedAt"] for c in stack.containers()}
    second = place.up(stack).expect(0).data
    assert (first["gate"]["passed"], second["gate"]["passed"]) == (True, True)
    assert {c["Id"]: c["State"]["StartedAt"] for c in stack.containers()} == before
    assert second["seconds"] < 30, "nobody waited for a health check of 30 s"
    assert second["ports"] == first["ports"]


def test_a_port_held_by_another_process_stops_up_before_anything_starts(
    place: Sandbox, empty_stack: Stack
) -> None:
    stack = empty_stack
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", stack.ports["db"]))
        holder.listen()
        refused = place.up(stack).expect(3)
        shown = place.run("up", stack.name).expect(3)
    assert refused.error["code"] == "port-conflict"
    (conflict,) = refused.error["details"]["ports"]
    assert conflict["port"] == stack.ports["db"]
    assert f"(pid {os.getpid()})" in conflict["holder"]
    assert f"Port {stack.ports['db']} is already in use." in shown.stderr
    assert f"  {stack.ports['db']}: held by {conflict['holder']}" in shown.stderr.splitlines()
    assert stack.leftovers() == []


def test_down_keeps_the_database_and_down_with_volumes_does_not(
    place: Sandbox, empty_stack: Stack
) -> None:
    stack = empty_stack
    place.up(stack).expect(0)
    stack.post("/api/v1/notes", {"text": "kept"})
    stopped = place.run("down", stack.name, "--json").expect(0).data
    assert stopped["volumes_kept"] == [f"{stack.id}_postgres_data"]
    assert stack.leftovers() == [f"volume {stack.id}_postgres_data"]
    assert place.listed()[stack.name]["status"] == "stopped"
    place.up(stack).expect(0)
    assert [note["text"] for note in stack.get("/api/v1/notes")] == ["kept"]
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    assert stack.leftovers() == []
    place.up(stack).expect(0)
    assert stack.get("/api/v1/notes") == []


def test_build_makes_this_instance_s_image_anew_and_no_other(place: Sandbox, stack: Stack) -> None:
    place.up(stack, "--no-wait").expect(0)
    base, own = image_id(BASE_IMAGE), stack.container("backend")["Image"]
    dockerfile = stack.path / "docker" / "backend" / "Dockerfile.dev"
    unchanged = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(f"{unchanged}ENV BUILT_FOR={stack.id}\n", encoding="utf-8")
    try:
        place.up(stack, "--build").expect(0)
        backend = stack.container("backend")
        assert f"BUILT_FOR={stack.id}" in backend["Config"]["Env"]
        assert backend["Config"]["Image"] == f"{stack.id}/{BASE_IMAGE}"
        assert backend["Image"] != own
        assert image_id(BASE_IMAGE) == base
    finally:
        dockerfile.write_text(unchanged, encoding="utf-8")


def test_an_interrupted_up_says_how_things_stand_and_down_still_works(
    place: Sandbox, stack: Stack, tmp_path: Path
) -> None:
    log = tmp_path / "messages"
    stack.misbehave("backend", "hang = true")
    try:
        with place.started("up", stack.name, log=log) as process:
            eventually(lambda: "database: ok" in log.read_text(encoding="utf-8"))
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to everyone
            code = process.wait(timeout=60)
    finally:
        stack.misbehave("backend", "hang = false")
    told = log.read_text(encoding="utf-8")
    assert code == 130, told
    error, hint = told.splitlines()[-2:]
    assert re.fullmatch(r"error: Interrupted: \d of its 3 containers run( so far)?\.", error)
    assert hint == "hint: 'up' goes on with it, 'down' stops it."
    assert stack.containers()
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    assert stack.leftovers() == []
