"""config: the whole output of each of its commands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import filelock
import pytest

from tests.support.world import World

IMAGES = {
    f"KTRDR_SANDBOX_DEMO_{name}_IMAGE": None
    for name in ("DATABASE", "PYTHON", "PROMETHEUS", "GRAFANA", "JAEGER")
}
THEIRS = (
    'gate_timeout = 90\nallow = ["host-pid"]\n\n'
    '[hooks]\nafter_create = [["uv", "sync"], ["sh", "-c", "printf \'\\u001b[8m\'"]]\n'
)
ASKED = (
    "<world>/ktrdr/.ktrdr-sandbox.toml sets what a checkout may not set by itself:\n"
    '  allow = ["host-pid"]\n'
    "  hooks.after_create runs on this machine:\n"
    '    ["uv", "sync"]\n'
    '    ["sh", "-c", "printf \'\\u001b[8m\'"]\n'
)
IGNORED = (
    "<world>/ktrdr/.ktrdr-sandbox.toml sets allow, hooks.after_create: ignored, because a checkout "
    "may do so only with your approval. To see it and decide, run there: ktrdr-sandbox config "
    "approve\n"
)


@pytest.fixture(autouse=True)
def _public_images(world: World) -> None:
    world.repository.write({".gitignore": ""})


def configured(world: World, text: str) -> None:
    world.repository.write({".ktrdr-sandbox.toml": text})


def test_every_setting_with_its_origin(world: World) -> None:
    world.home.joinpath("sandbox").mkdir(parents=True)
    (world.home / "sandbox" / "config.toml").write_text('# mine\ncopy_files = [".env"]\n')
    configured(world, "gate_timeout = 90\n")
    outcome = world.run("config", "show", env={**IMAGES, "KTRDR_SANDBOX_MIGRATE": "never"})
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == (
        "SETTING                VALUE                                FROM\n"
        'bind_address           "127.0.0.1"                          default\n'
        "compose_file           -                                    default\n"
        "env_files              []                                   default\n"
        "profiles               []                                   default\n"
        'health_paths           ["/health", "/api/v1/health"]        default\n'
        "gate_timeout           90                                   "
        "<world>/ktrdr/.ktrdr-sandbox.toml, line 1\n"
        "heal_workers           true                                 default\n"
        'migrate                "never"                              KTRDR_SANDBOX_MIGRATE\n'
        "allow                  []                                   default\n"
        "network_pool           -                                    default\n"
        "ktrdr_command          -                                    default\n"
        "trash_days             7                                    default\n"
        "lock_patience          600                                  default\n"
        "destroy_grace          5                                    default\n"
        'copy_files             [".env"]                             '
        "<world>/home/sandbox/config.toml, line 2\n"
        "hooks.after_create     []                                   default\n"
        "hooks.after_ready      []                                   default\n"
        "hooks.before_destroy   []                                   default\n"
        "hook_timeout           600                                  default\n"
        'demo_database_image    "timescale/timescaledb:latest-pg16"  default\n'
        'demo_python_image      "python:3.12-slim"                   default\n'
        'demo_prometheus_image  "prom/prometheus:latest"             default\n'
        'demo_grafana_image     "grafana/grafana:latest"             default\n'
        'demo_jaeger_image      "jaegertracing/all-in-one:1.53"      default\n'
    )


def test_only_what_is_changed(world: World) -> None:
    assert world.run("config", "show", "--changed", env=IMAGES).out == (
        "Every setting has its default.\n"
    )
    configured(world, THEIRS)
    outcome = world.run("config", "show", "--changed", env=IMAGES)
    assert outcome.out == (
        "SETTING       VALUE  FROM\n"
        "gate_timeout  90     <world>/ktrdr/.ktrdr-sandbox.toml, line 1\n"
    )
    assert outcome.err == IGNORED


def test_settings_as_json(world: World) -> None:
    configured(world, THEIRS)
    path = str(world.repository.root / ".ktrdr-sandbox.toml")
    outcome = world.run("config", "show", "--changed", "--json", env=IMAGES)
    assert outcome.data == {
        "checkout": str(world.repository.root),
        "settings": [
            {
                "name": "gate_timeout",
                "value": 90.0,
                "source": "checkout",
                "file": path,
                "line": 1,
                "variable": None,
            }
        ],
        "unapproved": {
            "allow": ["host-pid"],
            "hooks.after_create": [["uv", "sync"], ["sh", "-c", "printf '\x1b[8m'"]],
        },
    }
    assert world.shown(outcome.document["messages"][0]) + "\n" == IGNORED


def test_outside_of_a_checkout(world: World) -> None:
    configured(world, "gate_timeout = 90\n")
    outcome = world.run("config", "show", "--json", cwd=world.folder)
    assert outcome.data["checkout"] is None
    assert {one["source"] for one in outcome.data["settings"]} <= {"default", "variable"}


def test_of_an_instance(world: World) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / ".ktrdr-sandbox.toml").write_text("gate_timeout = 5\n")
    outcome = world.run("config", "show", "feat-x", "--changed", env=IMAGES)
    assert outcome.out == (
        "SETTING       VALUE  FROM\n"
        "gate_timeout  5      <world>/ktrdr--feat-x/.ktrdr-sandbox.toml, line 1\n"
    )


def test_secrets_are_hidden(world: World) -> None:
    configured(world, 'network_pool = "10.0.0.0/8"\nhealth_paths = ["/up?token=abcdefgh1234"]\n')
    outcome = world.run("config", "show")
    assert "abcdefgh1234" not in outcome.stdout
    assert "/up?token=***" in outcome.stdout


def test_the_files(world: World) -> None:
    configured(world, "")
    outcome = world.run("config", "path")
    assert outcome.out == (
        "<world>/ktrdr/.ktrdr-sandbox.toml\n<world>/home/sandbox/config.toml (not there)\n"
    )
    assert [one["exists"] for one in world.run("config", "path", "--json").data["files"]] == [
        True,
        False,
    ]


def test_the_schema_takes_what_the_program_takes(world: World) -> None:
    outcome = world.run("config", "schema")
    assert outcome.exit_code == 0, outcome
    found = json.loads(outcome.stdout)
    assert found["additionalProperties"] is False
    assert found["properties"]["gate_timeout"]["exclusiveMinimum"] == 0
    assert found["properties"]["migrate"]["enum"] == ["auto", "always", "never"]
    assert world.run("config", "schema", "--json").data["schema"] == found


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("gate_timout = 3\n", "gate_timout: no such setting; did you mean 'gate_timeout'?", 1),
        ("\ngate_timeout =\n", "no valid TOML: Invalid value (column 15)", 2),
        ("gate_timeout = -3\n", "gate_timeout: should be greater than 0 (found -3)", 1),
    ],
)
def test_settings_that_cannot_be_used(world: World, text: str, told: str, line: int) -> None:
    configured(world, text)
    outcome = world.run("config", "show")
    assert (outcome.exit_code, outcome.out) == (78, ""), outcome
    place = "<world>/ktrdr/.ktrdr-sandbox.toml"
    assert outcome.err == (
        f"error: The settings cannot be used: {told}, in {place}, line {line}.\n"
        f"hint: Correct {place}\n"
    )


# -- approval ------------------------------------------------------------------------------------


def test_nothing_to_approve(world: World) -> None:
    outcome = world.run("config", "approve")
    assert (outcome.exit_code, outcome.out) == (
        0,
        "<world>/ktrdr asks for nothing that needs approval.\n",
    )


def test_without_a_terminal_it_is_not_approved(world: World) -> None:
    configured(world, THEIRS)
    outcome = world.run("config", "approve")
    assert (outcome.exit_code, outcome.out) == (64, ""), outcome
    assert outcome.err == (
        f"error: {ASKED}config approve asks, and there is no terminal to ask on.\n"
        "hint: If that may be so, add --yes.\n"
    )
    assert not (world.home / "sandbox" / "approvals.json").exists()


def test_an_approval_and_a_second_one(world: World) -> None:
    configured(world, THEIRS)
    outcome = world.run("config", "approve", "--yes")
    assert (outcome.exit_code, outcome.err) == (0, ""), outcome
    assert outcome.out == f"{ASKED}Approved, for <world>/ktrdr/.git.\n"
    again = world.run("config", "approve")
    assert again.out == f"{ASKED}It was approved before, for <world>/ktrdr/.git.\n"
    shown = world.run("config", "show", "--changed", "--json", env=IMAGES)
    assert [one["name"] for one in shown.data["settings"]] == [
        "gate_timeout",
        "allow",
        "hooks.after_create",
    ]


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 130), ("\n", 130)])
def test_on_a_terminal_it_asks(world: World, answer: str, status: int) -> None:
    configured(world, THEIRS)
    environment = {**os.environ, "KTRDR_HOME": str(world.home)}
    above, below = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "config", "approve"],
        cwd=world.repository.root,
        env=environment,
        stdin=below,
        stdout=subprocess.PIPE,
        stderr=below,
    ) as child:
        os.close(below)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(above, 4096)
        os.write(above, answer.encode())
        assert child.wait(timeout=60) == status
    os.close(above)
    assert ASKED in world.shown(seen.decode().replace("\r\n", "\n"))
    assert (world.home / "sandbox" / "approvals.json").exists() is (status == 0)


def test_what_would_be_hidden_cannot_be_approved(world: World) -> None:
    configured(world, '[hooks]\nafter_create = ["sh", "-c", "A_TOKEN=abc;evil"]\n')
    outcome = world.run("config", "approve", "--yes")
    assert outcome.exit_code == 78, outcome
    assert "looks like a secret" in outcome.stderr
    assert not (world.home / "sandbox" / "approvals.json").exists()


def test_outside_of_a_checkout_there_is_nothing_to_approve(world: World) -> None:
    outcome = world.run("config", "approve", cwd=world.folder)
    assert outcome.exit_code == 1, outcome
    assert outcome.err == (
        "error: <world> is not inside a git repository with a working tree.\n"
        "hint: Go to the checkout, or name an instance.\n"
    )


# -- what others make of it ------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("list",), ("status", "feat-x"), ("--version",)])
def test_commands_without_settings_do_not_read_them(world: World, command: tuple[str, ...]) -> None:
    world.run("create", "feat-x")
    outcome = world.run(*command, env={"PYTHONPROFILEIMPORTTIME": "1"})
    modules = {line.rpartition("|")[2].strip() for line in outcome.stderr.splitlines()}
    assert "ktrdr_sandbox.cli.app" in modules
    assert "ktrdr_sandbox.settings_sources" not in modules


def test_the_patience_with_a_lock_that_somebody_holds(world: World) -> None:
    lock = world.home / "sandbox" / "instances.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock):
        outcome = world.run("create", "feat-x", env={"KTRDR_SANDBOX_LOCK_PATIENCE": "1.1"})
    assert outcome.exit_code == 75, outcome
    assert "held the lock for more than 1.1 s" in outcome.stderr
