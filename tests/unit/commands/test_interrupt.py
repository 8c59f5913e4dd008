"""Ctrl-C: what was under way is ended, and how things stand is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ktrdr_sandbox.commands.interrupt import interruptible
from ktrdr_sandbox.docker.engine import Container, ContainerDetail
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from tests.support.fake_engine import FakeEngine
from tests.unit.commands.scenes import Scene


def interrupted(engine: FakeEngine, instance: Instance) -> SandboxError:
    with pytest.raises(SandboxError) as caught, interruptible(engine, instance):
        raise KeyboardInterrupt
    assert caught.value.code == "interrupted"
    assert "end_commands" in engine.calls
    return caught.value


def test_before_anything_was_created(scene: Scene) -> None:
    told = interrupted(scene.engine, scene.instance())
    assert told.message == "Interrupted: it has no container."
    assert told.details == {"containers": 0, "running": 0}


def test_in_the_middle(scene: Scene) -> None:
    instance = scene.instance()
    scene.stack(instance)
    scene.engine.change("ktrdr--feat-x-backend-1", state="created")
    told = interrupted(scene.engine, instance)
    assert told.message == "Interrupted: 1 of its 2 containers run."
    assert told.details == {"containers": 2, "running": 1}


def test_what_the_engine_had_begun_is_told_as_it_ended(scene: Scene) -> None:
    """A start goes on in the engine when its command is gone: the first look comes too early."""
    instance = scene.instance()
    scene.stack(instance)
    scene.engine.change("ktrdr--feat-x-backend-1", state="created")

    class Finishing(FakeEngine):
        def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
            before: tuple[ContainerDetail, ...] = super().inspect(ids)
            self.change("ktrdr--feat-x-backend-1", state="running")
            return before

    engine = Finishing()
    engine.held = scene.engine.held
    assert interrupted(engine, instance).message == "Interrupted: 2 of its 2 containers run."


def test_an_engine_that_fails(scene: Scene) -> None:
    instance = scene.instance()
    scene.engine.failing = SandboxError("docker-not-answering", "no")
    told = interrupted(scene.engine, instance)
    assert told.message.startswith("Interrupted. Docker gives no answer")
    assert told.details == {"containers": None, "running": None}


def test_an_engine_that_hangs(scene: Scene) -> None:
    instance = scene.instance()
    over = threading.Event()

    class Hanging(FakeEngine):
        def containers(
            self, *, uuid: str | None = None, ids: Sequence[str] = ()
        ) -> tuple[Container, ...]:
            over.wait()
            return ()

    engine = Hanging()
    told = interrupted(engine, instance)
    over.set()
    assert told.message.startswith("Interrupted. Docker gives no answer")
    assert engine.calls.count("end_commands") == 2


def test_an_engine_that_takes_its_time_with_a_start(scene: Scene) -> None:
    """It lists the containers, and says no more of the one that it starts."""
    instance = scene.instance()
    scene.stack(instance)
    scene.engine.change("ktrdr--feat-x-backend-1", state="created")
    over = threading.Event()

    class Starting(FakeEngine):
        def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
            over.wait()
            return ()

    engine = Starting()
    engine.held = scene.engine.held
    told = interrupted(engine, instance)
    over.set()
    assert told.message == "Interrupted: 1 of its 2 containers run so far."


def test_without_an_interrupt_nothing_is_ended(scene: Scene) -> None:
    instance = scene.instance()
    with interruptible(scene.engine, instance):
        pass
    with pytest.raises(ValueError, match="other"), interruptible(scene.engine, instance):
        raise ValueError("other")
    assert "end_commands" not in scene.engine.calls
