"""Failures of Compose, told with what this program knows and Compose does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from ktrdr_sandbox.commands.compose_project import Composition, compose
from ktrdr_sandbox.commands.prepare import explained, noting_volumes
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.isolation.request import Notice
from tests.support.processes import foreign_listener, held_slot
from tests.unit.commands.scenes import IMAGE, Scene

SERVICES = {
    "db": {
        "image": IMAGE,
        "ports": [{"target": 5432, "published": "5432", "protocol": "tcp", "mode": "ingress"}],
    },
    "other": {"image": "nobody/has:it"},
    "own": {"image": "nobody/built:it", "build": {"context": "."}},
}


@pytest.fixture
def slot() -> Iterator[int]:
    with held_slot() as number:
        yield number


def composed(scene: Scene, slot: int | None = None) -> Composition:
    scene.repository.commit({"docker-compose.yml": json.dumps({"services": SERVICES})})
    return compose(scene.context, scene.create("feat-x", slot=slot).instance, scene.engine)


def told(scene: Scene, composition: Composition, error: SandboxError) -> SandboxError:
    with pytest.raises(SandboxError) as caught, explained(scene.engine, composition):
        raise error
    return caught.value


def test_a_port_that_was_taken_is_told_with_its_holder(scene: Scene, slot: int) -> None:
    composition = composed(scene, slot)
    port = 5432 + slot
    failed = SandboxError("port-conflict", f"Port {port} is already in use.")
    with foreign_listener(port) as (_, pid):
        error = told(scene, composition, failed)
    assert error.code == "port-conflict"
    assert error.message.startswith(f"Port {port} is already in use. This could be another ")
    assert error.message.endswith(f"(pid {pid})")
    assert error.hints == (
        "Stop what holds it, or use another slot: ktrdr-sandbox move feat-x --slot N",
    )
    assert pid != os.getpid()


def test_a_port_that_is_free_again_is_told_as_compose_met_it(scene: Scene, slot: int) -> None:
    composition = composed(scene, slot)
    failed = SandboxError("port-conflict", "Port 1 is already in use.")
    assert told(scene, composition, failed) is failed
    assert failed.hints == ("Or use another slot: ktrdr-sandbox move feat-x --slot N",)


CHECK = "Check the image's name and your registry login."
BUILD = "Or build it: ktrdr-sandbox up feat-x --build"


@pytest.mark.parametrize(
    ("image", "services", "hints"),
    [
        ("nobody/has:it", ["other"], ("It is the image of other.", CHECK)),
        ("ktrdr--feat-x/nobody/built:it", ["own"], ("It is the image of own.", CHECK, BUILD)),
        ("someone/else:1", None, (CHECK, BUILD)),
    ],
)
def test_a_missing_image_is_told_with_the_services_that_want_it(
    scene: Scene, image: str, services: list[str] | None, hints: tuple[str, ...]
) -> None:
    failed = SandboxError(
        "image-missing",
        "An image is not here.",
        hints=(CHECK,),
        details={"output": f"Image {image} Error pull access denied"},
    )
    error = told(scene, composed(scene), failed)
    assert error.details.get("services") == services
    assert error.hints == hints


def test_networks_without_containers_are_named_when_the_pool_is_exhausted(scene: Scene) -> None:
    scene.engine.add_network("old_default", {})
    error = told(scene, composed(scene), SandboxError("network-pool-exhausted", "none left"))
    assert error.details["unused_networks"] == ["old_default"]
    assert error.hints == ("These are used by no container: old_default",)


def test_any_other_failure_is_passed_on(scene: Scene) -> None:
    failed = SandboxError("compose-failed", "no")
    assert told(scene, composed(scene), failed) is failed


def test_a_question_of_compose_about_a_volume_is_told_and_not_shown(scene: Scene) -> None:
    shown, notices = list[str](), list[Notice]()
    sink = noting_volumes(shown.append, scene.instance(), notices)
    sink('  Volume "x_pg" exists but doesn\'t match configuration in compose file. Recreate (d')
    sink("Container x-db-1 Created")
    assert shown == ["Container x-db-1 Created"]
    assert "volume x_pg" in notices[0].text
