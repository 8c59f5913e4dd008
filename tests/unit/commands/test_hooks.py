"""Hooks: where and with what they run, and what is left of them when this program is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.hooks import HookFailure, run_hook
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress, Instance
from tests.support.processes import has_ended, is_alive
from tests.unit.commands.scenes import Scene


def configure(scene: Scene, *commands: str, more: str = "") -> None:
    """Shell lines as the user's own after_create hook."""
    scene.home.config.parent.mkdir(parents=True, exist_ok=True)
    listed = json.dumps([["sh", "-c", line] for line in commands])
    scene.home.config.write_text(f"{more}\n[hooks]\nafter_create = {listed}\n")


def run(scene: Scene, instance: Instance, **variables: str) -> tuple[list[str], HookFailure | None]:
    seen: list[str] = []
    context = replace(scene.context, environment={**scene.context.environment, **variables})
    failure = run_hook(context, instance, "after_create", sink=seen.append)
    return seen, failure


def note(scene: Scene, instance: Instance) -> Path:
    return scene.home.state_of(instance.id) / "hook.json"


def test_without_a_hook_nothing_happens(scene: Scene) -> None:
    instance = scene.instance()
    assert run(scene, instance) == ([], None)
    configure(scene)
    assert run(scene, instance) == ([], None)
    assert not note(scene, instance).exists()


def test_a_hook_has_the_instances_environment_and_place(scene: Scene) -> None:
    instance = scene.instance()
    names = "INSTANCE_ID SLOT_NUMBER COMPOSE_PROJECT_NAME KTRDR_API_PORT SANDBOX_UUID KTRDR_HOOK"
    names += " DOCKER_HOST MINE KTRDR_API_URL"
    absent = "COMPOSE_FILE GIT_DIR DOCKER_CONTEXT KTRDR_PORT_OTHER"
    lines = "; ".join(f"echo {name}=${name}" for name in f"{names} {absent}".split())
    configure(scene, f"pwd; {lines}")
    there = replace(instance, engine=EngineAddress(host="unix:///there.sock"))
    seen, failure = run(
        scene,
        there,
        MINE="passed on",
        COMPOSE_PROJECT_NAME="another",
        COMPOSE_FILE="another.yml",
        GIT_DIR="/another/.git",
        DOCKER_HOST="unix:///elsewhere.sock",
        DOCKER_CONTEXT="another",
        KTRDR_PORT_OTHER="1",
        KTRDR_API_PORT="9999",
        KTRDR_API_URL="http://localhost:9999",
    )
    assert failure is None
    assert seen[1:] == [
        str(instance.path),
        f"INSTANCE_ID={instance.id}",
        f"SLOT_NUMBER={instance.slot}",
        f"COMPOSE_PROJECT_NAME={instance.id}",
        f"KTRDR_API_PORT={8000 + instance.slot}",
        f"SANDBOX_UUID={instance.uuid}",
        "KTRDR_HOOK=after_create",
        "DOCKER_HOST=unix:///there.sock",
        "MINE=passed on",
        f"KTRDR_API_URL=http://localhost:{8000 + instance.slot}",
        "COMPOSE_FILE=",
        "GIT_DIR=",
        "DOCKER_CONTEXT=",
        "KTRDR_PORT_OTHER=",
    ]


def test_commands_run_in_order_up_to_the_first_failure(scene: Scene) -> None:
    instance = scene.instance()
    configure(scene, "echo one", "echo two >&2; exit 3", "touch three")
    seen, failure = run(scene, instance)
    assert failure is not None
    assert seen == [
        "after_create: sh -c 'echo one'",
        "one",
        "after_create: sh -c 'echo two >&2; exit 3'",
        "two",
    ]
    assert not (instance.path / "three").exists()
    error = failure.error(result="It stays.")
    assert error.code == "hook-failed"
    assert error.message == (
        "The hook after_create failed: sh -c 'echo two >&2; exit 3' ended with exit status 3.\n"
        "  two\nIt stays."
    )
    assert error.details["exit_code"] == 3


def test_a_hook_that_hangs(scene: Scene) -> None:
    instance = scene.instance()
    configure(scene, "echo here; sleep 600", more="hook_timeout = 0.5")
    _, failure = run(scene, instance)
    assert failure is not None
    assert failure.outcome.exit_code is None
    assert "took longer than 0.5 s and was ended.\n  here" in failure.error(result="").message
    assert not note(scene, instance).exists()


def test_what_a_terminal_might_obey_is_shown_escaped(scene: Scene) -> None:
    instance = scene.instance()
    configure(scene, "true \x1b[31m")
    seen, _ = run(scene, instance)
    assert seen[0] == "after_create: sh -c 'true \\x1b[31m'"


def test_a_hook_of_the_checkout_is_not_run_without_approval(scene: Scene) -> None:
    instance = scene.instance()
    (instance.path / ".ktrdr-sandbox.toml").write_text('[hooks]\nafter_create = ["touch", "ran"]\n')
    assert run(scene, instance) == ([], None)
    assert not (instance.path / "ran").exists()


def test_settings_that_cannot_be_read_stop_it(scene: Scene) -> None:
    instance = scene.instance()
    configure(scene, "true", more="gate_timeout = -1")
    with pytest.raises(SandboxError) as caught:
        run(scene, instance)
    assert caught.value.code == "bad-settings"


def test_a_directory_that_is_gone(scene: Scene) -> None:
    instance = replace(scene.instance(), path=scene.folder / "gone")
    configure(scene, "true")
    assert run(scene, instance) == ([], None)


def test_a_hook_may_call_this_program(scene: Scene) -> None:
    """No lock is held, and the hook's variables are none that this program takes for settings."""
    instance = scene.instance()
    configure(scene, f"{sys.executable} -m ktrdr_sandbox list")
    seen, failure = run(scene, instance, KTRDR_HOME=str(scene.home.root))
    assert failure is None, seen
    assert [line.split()[0] for line in seen[-2:]] == ["INSTANCE", instance.id]


def forked(scene: Scene, instance: Instance) -> tuple[int, int]:
    """A process that runs the hook, and the hook's own, which waits."""
    configure(scene, "echo $$ > pid; exec sleep 600")
    child = os.fork()
    if child == 0:
        try:
            run_hook(scene.context, instance, "after_create", sink=lambda _: None)
        finally:
            os._exit(9)
    written = instance.path / "pid"
    while not (written.exists() and written.read_text().strip()):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.01)
    return child, int(written.read_text())


def test_after_a_kill_the_next_hook_ends_what_is_left(scene: Scene) -> None:
    instance = scene.instance()
    child, hook = forked(scene, instance)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert is_alive(hook)
    configure(scene, "echo next")
    seen, failure = run(scene, instance)
    assert failure is None
    assert seen[1:] == ["next"]
    assert has_ended(hook)
    (told,) = scene.told
    assert told == (
        "The hook after_create of feat-x was cut off when its command was killed; what was left of "
        "it has been ended."
    )


def test_a_hook_that_another_command_runs_is_left_alone(scene: Scene) -> None:
    instance = scene.instance()
    child, hook = forked(scene, instance)
    try:
        configure(scene, "echo next")
        assert run(scene, instance)[0][1:] == ["next"]
        assert is_alive(hook)
        assert scene.told == []
    finally:
        os.kill(hook, signal.SIGKILL)
        os.waitpid(child, 0)
