"""What of the machine reaches the Compose call, beyond what isolation decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.compose_project import base_call, compose
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.settings import Settings
from tests.unit.commands.scenes import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    model = {"services": {"app": {"image": "alpine"}}}
    scene.repository.commit({"compose.yaml": json.dumps(model)})
    return scene


def notes(scene: Scene, instance: Instance) -> list[str]:
    found = compose(scene.context, instance, scene.engine).isolation.notices
    return [notice.text for notice in found]


def test_an_env_that_only_main_has_is_told(scene: Scene) -> None:
    instance = scene.instance()
    assert notes(scene, instance) == []
    (scene.repository.root / ".env").write_text("TOKEN=x\n", encoding="utf-8")
    (note,) = notes(scene, instance)
    assert note.startswith(f"{scene.repository.root / '.env'} is not in this checkout")
    (instance.path / ".env").touch()
    assert notes(scene, instance) == []


def test_the_current_folder_of_compose_is_the_checkout(scene: Scene) -> None:
    """Wherever the command is run: in another instance's worktree, say."""
    instance = scene.instance()
    elsewhere = {**scene.context.environment, "PWD": "/elsewhere", "KTRDR_API_URL": "http://x:1"}
    context = replace(scene.context, environment=elsewhere)
    call = base_call(context, instance, context.settings(instance.path))
    assert call.environment["PWD"] == str(instance.path)
    assert "KTRDR_API_URL" not in call.environment


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${DB_HOST:-postgres} ${DB_PORT}", "DB_HOST and DB_PORT of .env.sandbox"),
        ("$DB_HOST", "DB_HOST of .env.sandbox"),
        ("$$DB_HOST ${DB_HOST_NAME} DB_HOST", ""),
    ],
)
def test_an_address_for_the_host_is_told_of_in_a_compose_file(
    scene: Scene, text: str, told: str
) -> None:
    instance = scene.instance()
    model = {"services": {"app": {"image": "alpine", "environment": {"AT": text}}}}
    (instance.path / "compose.yaml").write_text(json.dumps(model), encoding="utf-8")
    found = notes(scene, instance)
    assert (
        not {"DB_HOST", "DB_PORT"}
        & base_call(scene.context, instance, Settings()).environment.keys()
    )
    assert [note.startswith(told) for note in found] == ([True] if told else [])
