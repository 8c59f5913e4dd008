"""`--json`: one document on stdout and nothing on stderr, whatever happens, for every command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.docker_scripts import docker_script
from tests.support.world import World

COMMANDS = {
    "create": ("create", "feat-x"),
    "init": ("init",),
    "up": ("up", "feat-x"),
    "down": ("down", "feat-x"),
    "destroy": ("destroy", "feat-x", "--yes"),
    "list": ("list",),
    "status": ("status", "feat-x"),
    "logs": ("logs", "-i", "feat-x"),
    "wait": ("wait", "feat-x"),
    "isolate": ("isolate", "feat-x"),
    "env": ("env", "feat-x"),
    "run": ("run", "-i", "feat-x", "--", "true"),
    "exec": ("exec", "-i", "feat-x", "db", "true"),
    "shell": ("shell", "-i", "feat-x"),
    "open": ("open", "-i", "feat-x"),
    "init-shared": ("init-shared", "--minimal"),
    "demo": ("demo",),
}


NEEDS_DOCKER = ["up", "down", "destroy", "status", "logs", "wait", "isolate", "exec", "shell"]


def as_json(command: str) -> tuple[str, ...]:
    """Before what a command is given: for some, all behind it is another's."""
    return (command, "--json", *COMMANDS[command][1:])


VERSIONS = """\
case " $* " in
*" compose version "*) echo 2.33.0;;
*" version "*) echo '{"Client":{"Version":"28"},"Server":{"Version":"28","ApiVersion":"1.48"}}';;
esac"""
"""An engine that tells its versions and has nothing."""


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage(world: World, command: str) -> None:
    outcome = world.run(command, "--json", "--no-such-option")
    assert outcome.exit_code == 64, outcome
    assert outcome.document["command"] == command
    assert outcome.error["code"] == "usage"
    assert outcome.error["hints"] == [f"Run 'ktrdr-sandbox {command} --help'."]
    assert outcome.document["data"] == {}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_a_home_in_the_way_of_which_a_file_lies(world: World, command: str) -> None:
    blocker = world.folder / "file"
    blocker.touch()
    outcome = world.run(*as_json(command), env={"KTRDR_HOME": str(blocker / "home")})
    assert outcome.exit_code == 73, outcome
    assert outcome.document["command"] == command
    assert outcome.error["code"] == "cannot-write"


@pytest.mark.parametrize("command", NEEDS_DOCKER)
def test_docker_that_does_not_answer(world: World, command: str) -> None:
    world.run("create", "feat-x")
    outcome = world.run(*as_json(command))
    assert outcome.exit_code == 69, outcome
    assert outcome.error["code"] == "docker-not-answering"
    assert "unix:///nowhere" in outcome.error["message"]
    assert world.path_of("feat-x").is_dir()


@pytest.mark.parametrize("command", NEEDS_DOCKER)
def test_no_docker_at_all(world: World, command: str) -> None:
    world.run("create", "feat-x")
    only_git = world.folder / "bin"
    only_git.mkdir()
    (only_git / "git").symlink_to(shutil.which("git") or "git")
    outcome = world.run(*as_json(command), env={"PATH": str(only_git)})
    assert outcome.exit_code == 69, outcome
    assert outcome.error["code"] == "docker-missing"
    assert world.path_of("feat-x").is_dir()


def test_a_list_without_docker_still_lists(world: World) -> None:
    world.run("create", "feat-x")
    outcome = world.run("list", "--json", env={"PATH": str(world.folder)})
    assert outcome.data["instances"][0]["status"] == "unknown"
    assert outcome.document["messages"] == ["The docker command was not found on PATH."]


@pytest.mark.parametrize("command", ["create", "init", "up", "wait", "isolate", "demo"])
def test_bad_settings(world: World, command: str) -> None:
    if command not in ("create", "init", "demo"):
        world.run("create", "feat-x")
    variables = {"KTRDR_SANDBOX_GATE_TIMEOUT": "soon"}
    variables |= docker_script(world, VERSIONS)
    arguments = [*as_json(command)]
    if command == "demo":
        arguments += ["--directory", str(world.folder / "demo")]
    outcome = world.run(*arguments, env=variables)
    assert outcome.exit_code == 78, outcome
    assert outcome.error["code"] == "bad-settings"
    (problem,) = outcome.error["details"]["problems"]
    assert problem.startswith("gate_timeout: ")


def test_a_damaged_environment_file(world: World) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / ".env.sandbox").write_bytes(b"\xff\xfe")
    outcome = world.run("status", "--json", cwd=world.path_of("feat-x"))
    assert outcome.exit_code == 1, outcome
    assert outcome.error["code"] == "env-file-damaged"


def test_a_registry_of_a_newer_program(world: World) -> None:
    world.registry_file.parent.mkdir(parents=True)
    world.registry_file.write_text('{"version": 2}')
    for command in ("list", "create", "init"):
        outcome = world.run(*as_json(command))
        assert outcome.exit_code == 1, outcome
        assert outcome.error["code"] == "registry-newer"
    assert world.registry_file.read_text() == '{"version": 2}'


def test_a_current_directory_that_is_gone(world: World) -> None:
    gone = world.folder / "gone"
    gone.mkdir()
    script = 'rmdir "$1" && exec "$2" -m ktrdr_sandbox status --json'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(gone), sys.executable],
        cwd=gone,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 66, done.stderr
    assert done.stderr == ""
    assert '"code": "not-in-instance"' in done.stdout


def test_a_defect_is_told_with_a_report_to_send(world: World) -> None:
    """`docker version` that prints nonsense is nothing this program foresees."""
    world.run("create", "feat-x")
    engine = docker_script(world, "echo 'GITHUB_TOKEN=planted-secret not json'")
    outcome = world.run("up", "feat-x", "--json", env=engine)
    assert outcome.exit_code == 70, outcome
    report = outcome.error["details"]["report"]
    assert outcome.error["code"] == "internal"
    assert report in outcome.error["message"]
    text = Path(report).read_text(encoding="utf-8")
    assert "command: up" in text
    assert "Traceback" in text
    assert "planted-secret" not in text
