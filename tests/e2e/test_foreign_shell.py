"""A shell that still has the variables of another sandbox, and some that a user means."""

from __future__ import annotations

import json

import pytest

from tests.support.stacks import Sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]

LEFT_OVER = {
    "INSTANCE_ID": "ktrdr--hostile",
    "COMPOSE_PROJECT_NAME": "ktrdr--hostile",
    "COMPOSE_FILE": "/hostile/compose.yml",
    "COMPOSE_PROFILES": "hostile",
    "COMPOSE_ENV_FILES": "/hostile/env",
    "SLOT_NUMBER": "9",
    "KTRDR_API_PORT": "39999",
    "KTRDR_DB_PORT": "39998",
    "KTRDR_WORKER_PORT_1": "39997",
    "KTRDR_PORT_WEB_80": "39996",
    "KTRDR_API_URL": "http://hostile:39995",
    "PWD": "/hostile",
    "DB_PASSWORD": "hostile-password",
    "DB_USER": "hostile-user",
    "SANDBOX_UUID": "hostile-uuid",
}
"""Of another sandbox, sourced in this terminal an hour ago."""

MEANT = {"ANTHROPIC_API_KEY": "sk-of-the-user"}


def test_nothing_of_another_sandbox_arrives_and_the_user_s_own_does(
    light: Sandbox, mark: str
) -> None:
    stack = light.create(f"{mark}-shell")
    compose = stack.path / "deploy" / "environments" / "local" / "docker-compose.yml"
    profile = '\n  hostile:\n    image: ${DB_USER:-none}\n    profiles: ["hostile"]\n\nvolumes:'
    text = compose.read_text(encoding="utf-8")
    compose.write_text(text.replace("\nvolumes:", profile, 1), encoding="utf-8")
    shell = LEFT_OVER | MEANT
    for _ in range(2):  # the second finds the running stack again, not another project's
        up = light.run("up", stack.name, "--json", environment=shell).expect(0)
    assert up.data["gate"]["passed"] is True
    found = stack.services()
    assert set(found) == {"db", "backend", "training-worker-1"}
    everything = json.dumps(list(found.values()))
    for word in ("hostile", "39999", "39998", "39997", "39996"):
        assert word not in everything
    variables = dict(entry.split("=", 1) for entry in found["backend"]["Config"]["Env"])
    assert variables["INSTANCE_ID"] == stack.id
    assert variables["DB_PASSWORD"] == f"sandbox-{stack.id}"
    assert variables["ANTHROPIC_API_KEY"] == "sk-of-the-user"
    assert "sk-of-the-user" not in up.stdout + up.stderr
    shown = light.run("status", stack.name, "--json", environment=shell).expect(0).data
    assert shown["status"] == "running"
    light.run("down", stack.name, "--volumes", "--now", environment=shell).expect(0)
    assert stack.leftovers() == []
