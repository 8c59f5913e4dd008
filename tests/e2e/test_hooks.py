"""Hooks around a real stack: ready means ready, and before it goes it is still there."""

from __future__ import annotations

import json

import pytest

from tests.support.stacks import Sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]

LOOK = (
    "import os, urllib.request as u; print(u.urlopen(os.environ['URL'] + '/api/v1/health').status)"
)


def test_a_stack_is_ready_after_up_and_there_before_destroy(light: Sandbox, mark: str) -> None:
    running = "docker ps --format '{{.Names}}' --filter label=ktrdr.sandbox.uuid=$SANDBOX_UUID"
    health = f'URL=http://127.0.0.1:$KTRDR_API_PORT python3 -c "{LOOK}"'
    hooks = {
        "after_ready": ["sh", "-c", health],
        "before_destroy": ["sh", "-c", f"{running} | wc -l > {light.folder}/seen"],
    }
    lines = [f"{name} = {json.dumps(argv)}" for name, argv in hooks.items()]
    light.state.mkdir(parents=True, exist_ok=True)
    (light.state / "config.toml").write_text("\n".join(["[hooks]", *lines]), encoding="utf-8")
    stack = light.create(f"{mark}-hooks")
    up = light.run("up", stack.name).expect(0)
    assert up.stderr.splitlines()[-1] == "200", up
    light.run("destroy", stack.name, "--yes").expect(0)
    assert int((light.folder / "seen").read_text()) >= 2
    assert stack.leftovers() == []
