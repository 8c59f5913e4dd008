"""list, status, logs and help: the whole output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from ktrdr_sandbox import __version__
from tests.cli.docker_scripts import empty_engine, engine_with
from tests.support.world import World


def test_an_empty_list(world: World) -> None:
    outcome = world.run("list")
    assert outcome.exit_code == 0, outcome
    assert outcome.out == "No instances. Create one: ktrdr-sandbox create <name>\n"
    assert outcome.err == ""
    assert world.run("list", "--json").data == {"instances": [], "dropped": []}
    assert not world.home.exists()


def test_a_list(world: World, slot: int) -> None:
    world.run("create", "feat-operation-metrics", "--slot", str(slot))
    outcome = world.run("list", env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == ""
    number, port = str(slot).ljust(4), str(8000 + slot).ljust(8)
    assert outcome.out == (
        "INSTANCE                       SLOT  STATUS   API PORT  CREATED\n"
        f"ktrdr--feat-operation-metrics  {number}  stopped  {port}  <minute>\n"
    )


def test_a_list_as_json(world: World, slot: int) -> None:
    made = world.run("create", "feat-x", "--slot", str(slot), "--json").data["instance"]
    outcome = world.run("list", "--json", env=empty_engine(world))
    assert outcome.data == {
        "instances": [{**made, "status": "stopped", "api_port": 8000 + slot, "workers": None}],
        "dropped": [],
    }


def test_a_directory_that_was_removed_by_hand_is_no_obstacle(world: World, slot: int) -> None:
    """Its name is free once `list` has dropped it."""
    empty = empty_engine(world)
    world.run("create", "feat-x", "--slot", str(slot))
    shutil.rmtree(world.path_of("feat-x"))
    outcome = world.run("list", env=empty)
    assert outcome.exit_code == 0, outcome
    assert outcome.out == "No instances. Create one: ktrdr-sandbox create <name>\n"
    assert outcome.err == (
        "ktrdr--feat-x was dropped: its directory is gone and nothing of it is left.\n"
    )
    exclude = world.repository.root / ".git" / "info" / "exclude"
    assert ".env.sandbox" not in exclude.read_text(encoding="utf-8")
    assert world.repository.worktrees() == [world.repository.root]
    assert world.run("gc", env=empty).out == "Nothing to end.\n"
    again = world.run("create", "feat-x", "--slot", str(slot))
    assert again.exit_code == 0, again
    assert again.out.splitlines()[:3] == [
        f"Created ktrdr--feat-x (slot {slot})",
        "  Directory   <world>/ktrdr--feat-x",
        "  Branch      feat-x",
    ]


def test_a_list_without_an_engine(world: World, slot: int) -> None:
    """What is registered is known all the same."""
    world.run("create", "feat-x", "--slot", str(slot))
    outcome = world.run("list")
    assert outcome.exit_code == 0, outcome
    number = str(slot).ljust(4)
    assert outcome.out == (
        "INSTANCE       SLOT  STATUS   API PORT  CREATED\n"
        f"ktrdr--feat-x  {number}  unknown  {str(8000 + slot).ljust(8)}  <minute>\n"
    )
    assert outcome.err == (
        f"Docker does not answer at {os.environ['DOCKER_HOST']}: nothing listens there\n"
    )


def test_a_running_and_a_half_running_stack(world: World) -> None:
    uuid = world.run("create", "feat-x", "--json").data["instance"]["uuid"]
    db = {"uuid": uuid, "service": "db"}
    backend = {"uuid": uuid, "service": "backend"}
    running = world.run("list", "--json", env=engine_with(world, db, backend))
    assert running.data["instances"][0]["status"] == "running"
    ended = {**backend, "state": "exited", "status": "Exited (1) 3 minutes ago"}
    partial = world.run("list", "--json", env=engine_with(world, db, ended))
    assert partial.data["instances"][0]["status"] == "partial"


def test_what_is_gone_altogether_is_dropped_and_told(world: World) -> None:
    world.run("create", "feat-x")
    shutil.rmtree(world.path_of("feat-x"))
    outcome = world.run("list", env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == (
        "ktrdr--feat-x was dropped: its directory is gone and nothing of it is left.\n"
    )
    assert outcome.out == "No instances. Create one: ktrdr-sandbox create <name>\n"
    assert world.registered() == {}


# -- status --------------------------------------------------------------------------------------


def test_status_without_containers(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    for arguments, cwd in ((["feat-x"], None), ([], world.path_of("feat-x"))):
        outcome = world.run("status", *arguments, cwd=cwd, env=empty_engine(world))
        assert outcome.exit_code == 0, outcome
        assert outcome.err == ""
        assert outcome.out == (
            "ktrdr--feat-x\n"
            "  Status      stopped\n"
            f"  Slot        {slot}\n"
            "  Directory   <world>/ktrdr--feat-x\n"
            "  Created     <minute> UTC by create\n"
            f"  Docker      {os.environ['DOCKER_HOST']}\n"
            f"  API         http://localhost:{8000 + slot}\n"
            f"  Grafana     http://localhost:{3000 + slot}\n"
            f"  Jaeger      http://localhost:{16686 + slot}\n"
            f"  Prometheus  http://localhost:{9090 + slot}\n"
            f"  Database    localhost:{5432 + slot}\n"
            "  Shared      empty\n"
            "\n"
            "No containers. Start it: ktrdr-sandbox up feat-x\n"
        )


def test_status_with_containers(world: World) -> None:
    uuid = world.run("create", "feat-x", "--json").data["instance"]["uuid"]
    engine = engine_with(
        world,
        {"uuid": uuid, "service": "db", "status": "Up 2 hours (healthy)"},
        {"uuid": uuid, "service": "backend", "state": "exited", "status": "Exited (1) 1 hour ago"},
    )
    outcome = world.run("status", "feat-x", env=engine)
    assert outcome.exit_code == 0, outcome
    assert outcome.out.startswith("ktrdr--feat-x\n  Status      partial\n")
    assert outcome.out.endswith(
        "\n\n"
        "SERVICE  STATE                  CONTAINER\n"
        "backend  Exited (1) 1 hour ago  ktrdr--feat-x-backend-1\n"
        "db       Up 2 hours (healthy)   ktrdr--feat-x-db-1\n"
    )


def test_status_of_all(world: World) -> None:
    assert world.run("status", "--all").out == world.run("list").out
    uuid = world.run("create", "feat-x", "--json").data["instance"]["uuid"]
    world.run("create", "feat-y")
    engine = engine_with(world, {"uuid": uuid, "service": "db"})
    outcome = world.run("status", "--all", env=engine)
    assert outcome.exit_code == 0, outcome
    single = world.run("status", "feat-x", env=engine).out
    assert outcome.out.startswith(f"{single}\nktrdr--feat-y\n  Status      stopped\n")
    told = world.run("status", "--all", "--json", env=engine).data["instances"]
    assert told[0] == world.run("status", "feat-x", "--json", env=engine).data
    assert [one["status"] for one in told] == ["running", "stopped"]
    refused = world.run("status", "feat-x", "--all", env=engine)
    assert refused.exit_code == 64
    assert "does not go with --all" in refused.err


def test_status_of_all_without_an_engine(world: World) -> None:
    world.run("create", "feat-x")
    world.run("create", "feat-y")
    shutil.rmtree(world.path_of("feat-y"))
    outcome = world.run("status", "--all")
    assert outcome.exit_code == 0, outcome
    assert outcome.err == (
        f"Docker does not answer at {os.environ['DOCKER_HOST']}: nothing listens there\n"
    )
    assert "\n\nIts Docker engine does not answer.\n\nktrdr--feat-y\n" in outcome.out
    assert outcome.out.endswith(
        "\n\nIts directory is gone. Remove what is left: ktrdr-sandbox destroy feat-y\n"
    )


def test_status_as_json(world: World) -> None:
    made = world.run("create", "feat-x", "--json").data["instance"]
    engine = engine_with(world, {"uuid": made["uuid"], "service": "db"})
    outcome = world.run("status", "feat-x", "--json", env=engine)
    assert outcome.data == {
        "instance": made,
        "status": "running",
        "ports": [],
        "containers": [
            {
                "name": "ktrdr--feat-x-db-1",
                "service": "db",
                "state": "running",
                "status": "Up 2 hours",
                "image": "image:1",
            }
        ],
        "missing": [],
        "workers": None,
        "shared": {
            "path": str(world.home / "shared"),
            "files": 0,
            "bytes": 0,
            "folders": {
                kind: {"files": 0, "bytes": 0, "linked_to": None}
                for kind in ("data", "models", "strategies")
            },
            "symbols": {},
            "models": [],
            "strategies": [],
            "updated": None,
        },
    }


# -- logs ----------------------------------------------------------------------------------------


def test_logs_as_json(world: World) -> None:
    uuid = world.run("create", "feat-x", "--json").data["instance"]["uuid"]
    log = "ready\nDB_PASSWORD=planted-secret\n"
    engine = engine_with(world, {"uuid": uuid, "service": "db"}, log=log)
    outcome = world.run("logs", "-i", "feat-x", "--json", env=engine)
    assert outcome.data == {
        "instance": "ktrdr--feat-x",
        "containers": [
            {
                "name": "ktrdr--feat-x-db-1",
                "service": "db",
                "lines": ["ready", "DB_PASSWORD=***"],
            }
        ],
    }


def test_logs_of_nothing(world: World) -> None:
    world.run("create", "feat-x")
    outcome = world.run("logs", "-i", "feat-x", env=empty_engine(world))
    assert outcome.exit_code == 1, outcome
    assert outcome.out == ""
    assert outcome.err == (
        "error: ktrdr--feat-x has no containers, so there are no logs.\n"
        "hint: Start it: ktrdr-sandbox up feat-x\n"
    )


# -- isolate -------------------------------------------------------------------------------------


def test_what_is_laid_over_the_file(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    outcome = world.run("isolate", "feat-x", "--json", env=empty_engine(world))
    (port,) = outcome.data["ports"]
    assert (port["service"], port["target"]) == ("backend", 8000)
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", 8000 + slot)
    assert outcome.data["files"] == [str(world.path_of("feat-x") / "docker-compose.yml")]
    text = world.run("isolate", "feat-x", env=empty_engine(world))
    assert text.exit_code == 0, text
    assert text.out.startswith(
        "Laid over <world>/ktrdr--feat-x/docker-compose.yml\n"
        "written at 'up' to <world>/home/sandbox/instances/ktrdr--feat-x/override.yml\n"
        "\n"
        "  starts"
    )
    assert f"  ports         backend {8000 + slot}" in text.out
    assert not list((world.home / "sandbox" / "instances").glob("*/override.yml"))


@pytest.mark.parametrize("command", [("isolate", "feat-x"), ("up", "feat-x", "--dry-run")])
def test_what_cannot_be_isolated_is_shown_with_what_allows_it(
    world: World, command: tuple[str, ...]
) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / "docker-compose.yml").write_text(
        "services:\n  media: {image: busybox, ports: ['30000-30109:30000-30109/udp'], ipc: host}\n",
        encoding="utf-8",
    )
    outcome = world.run(*command, env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    assert outcome.out.endswith(
        "\n"
        "refused: media: ports: container ports 30100-30109/udp are beyond the 100 extra ports of "
        "a slot (token extra-ports)\n"
        "refused: media: ipc: host: shares the host's memory segments with other instances (token "
        "host-ipc)\n"
        """To run it all the same: KTRDR_SANDBOX_ALLOW='["extra-ports", "host-ipc"]'\n"""
    ), outcome


# -- the program itself --------------------------------------------------------------------------


def test_the_version(world: World) -> None:
    outcome = world.run("--version")
    assert (outcome.exit_code, outcome.out) == (0, f"ktrdr-sandbox {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_commands_are_listed(world: World, arguments: tuple[str, ...]) -> None:
    outcome = world.run(*arguments)
    assert outcome.exit_code == 0, outcome
    assert outcome.err == ""
    for command in ("create", "init", "up", "down", "destroy", "list", "status", "logs", "demo"):
        assert f"\n  {command} " in outcome.out


def test_a_reader_that_has_enough(world: World) -> None:
    """`ktrdr-sandbox list | head -0`: no complaint about the closed pipe."""
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        complaints = program.stderr.read()
    assert complaints == b""
    assert program.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminals_encoding_lacks(world: World, encoding: str) -> None:
    world.run("create", "feat-x")
    for name in (b"caf\xe9 latin", "snow \N{SNOWMAN}".encode()):
        (world.path_of("feat-x") / os.fsdecode(name)).touch()
    variables = {"PYTHONIOENCODING": encoding, **empty_engine(world)}
    plan = world.run("destroy", "feat-x", "--dry-run", "--json", env=variables)
    assert plan.data["unsaved"]["files"] == ["?? caf\udce9 latin", "?? snow \N{SNOWMAN}"]
    text = world.run("destroy", "feat-x", "--dry-run", env={**variables, "PYTHONUTF8": "0"})
    assert text.exit_code == 0, text
    assert "?? caf\\udce9 latin\n" in text.stdout
