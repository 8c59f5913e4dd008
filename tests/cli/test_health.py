"""doctor and gc: the whole output."""

from __future__ import annotations

import re
import shutil

from tests.cli.docker_scripts import empty_engine
from tests.support.world import World


def test_gc_with_nothing_to_end(world: World) -> None:
    outcome = world.run("gc", env=empty_engine(world))
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == "Nothing to end.\n"
    assert world.run("gc", "--yes", "--json", env=empty_engine(world)).data == {"items": []}


def test_gc_tells_what_it_would_end_and_then_ends_it(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    shutil.rmtree(world.path_of("feat-x"))
    outcome = world.run("gc", env=empty_engine(world))
    assert outcome.out == (
        "Would end (nothing is touched without --yes):\n"
        "  instance ktrdr--feat-x: its directory is gone: <world>/ktrdr--feat-x\n"
    )
    assert list(world.registered()) == ["ktrdr--feat-x"]
    outcome = world.run("gc", "--yes", env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert outcome.out.startswith("Ended:\n  instance ktrdr--feat-x: ")
    assert world.registered() == {}


def test_gc_does_not_guess_while_docker_is_silent(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    shutil.rmtree(world.path_of("feat-x"))
    outcome = world.run("gc", "--yes")
    assert outcome.exit_code == 0, outcome
    assert "Docker does not answer" in outcome.err
    assert list(world.registered()) == ["ktrdr--feat-x"]


def test_doctor_names_each_problem_with_its_fix(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    (world.path_of("feat-x") / ".env.sandbox").unlink()
    outcome = world.run("doctor", "feat-x")
    assert (outcome.exit_code, outcome.err) == (1, ""), outcome
    lines = outcome.out.splitlines()
    assert lines[0].startswith("✗ docker: Docker does not answer at unix:///nowhere/docker.sock")
    at = lines.index("✗ instance: ktrdr--feat-x: <world>/ktrdr--feat-x/.env.sandbox is missing")
    assert lines[at + 1] == "  → ktrdr-sandbox doctor --fix"
    assert "✓ shared folder: empty (<world>/home/shared)" in lines
    assert re.fullmatch(r"2 problems\.( \d+ notes?\.)?", lines[-1])

    outcome = world.run("doctor", "--fix")
    assert (
        "✓ instance: ktrdr--feat-x: <world>/ktrdr--feat-x/.env.sandbox is missing (repaired)"
        in outcome.out.splitlines()
    )
    assert (world.path_of("feat-x") / ".env.sandbox").is_file()


def test_doctor_in_json_is_one_document(world: World) -> None:
    outcome = world.run("doctor", "--json")
    assert outcome.exit_code == 1
    assert outcome.error["code"] == "problems-found"
    data = outcome.document["data"]
    assert data["healthy"] is False
    assert {"check", "level", "text", "fix", "instance", "repaired"} == set(data["findings"][0])


def test_doctor_outside_of_any_repository(world: World) -> None:
    world.folder.mkdir(exist_ok=True)
    outcome = world.run("doctor", cwd=world.folder)
    assert outcome.exit_code == 1, outcome
    assert "✓ registry: 0 instances registered" in outcome.out
