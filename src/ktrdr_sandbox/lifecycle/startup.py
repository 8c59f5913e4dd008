"""up: isolate, create, start in order, and prove by the Startability Gate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.engine.docker import require_compose
from ktrdr_sandbox.engine.interface import Engine, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.gate import run_gate
from ktrdr_sandbox.gate.request import GateRequest
from ktrdr_sandbox.gate.result import CheckName, GateProgress, GateResult
from ktrdr_sandbox.isolation.result import Notice
from ktrdr_sandbox.lifecycle import record
from ktrdr_sandbox.lifecycle.composition import Composition, compose, refuse, write_down
from ktrdr_sandbox.lifecycle.interruption import interruptible
from ktrdr_sandbox.lifecycle.obstacles import (
    explained,
    refuse_busy_ports,
    refuse_foreign,
    refuse_paused,
)
from ktrdr_sandbox.lifecycle.questions import asked
from ktrdr_sandbox.lifecycle.start_order import CannotStartError, Starter
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.locking import hold, is_held
from ktrdr_sandbox.models import Instance, Stack

Observer = Callable[[GateProgress], None]

LAST_BATCH: Final = 3.0
"""Seconds for a start under way to end, or to fail as well, when the gate has failed."""

STARTING_POLL: Final = 0.05
"""Seconds between two looks at whether another process still starts the stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """What up did. `gate` is None when nobody waited for it; `seconds` is the whole command."""

    instance: Instance
    stack: Stack
    gate: GateResult | None
    notices: tuple[Notice, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """`timeout` in seconds for the gate, None for the setting's."""

    wait: bool = True
    build: bool = False
    timeout: float | None = None


class GateFailedError(SandboxError):
    """The stack started but is not ready; `startup` holds the whole report."""

    def __init__(self, startup: Startup) -> None:
        super().__init__("gate-failed", f"{startup.instance.id} started but is not ready.")
        self.startup = startup
        checks = startup.gate.checks if startup.gate is not None else ()
        commands = [check.next_command for check in checks if check.next_command]
        self.hints = tuple(f"Next: {command}" for command in dict.fromkeys(commands))


def up(
    place: Workplace,
    instance: Instance,
    options: UpOptions,
    *,
    progress: LineSink,
    observe: Observer,
) -> Startup:
    """Bring the stack up; safe to repeat on a running one.

    Raises `port-conflict`, `isolation-refused`, `compose-failed`, `image-missing`, GateFailedError,
    and what `compose` raises.
    """
    began = time.monotonic()
    lock = place.home.instance_lock(instance.id)
    with hold(lock, purpose=f"up {instance.name}", patience=600.0, tell=place.tell):
        engine = place.engine(instance.engine)
        with interruptible(engine, instance):
            composition = _prepared(place, instance, engine)
            build = _to_build(composition, everything=options.build)
            with explained(engine, composition):
                engine.compose_create(
                    composition.call, build=list(build.values()), progress=progress
                )
                stale = _stale_images(place, composition, built=frozenset(build))
                gate = asyncio.run(_start(engine, composition, options, progress, observe))
    startup = Startup(
        instance=instance,
        stack=composition.isolation.stack,
        gate=gate,
        notices=(*composition.isolation.notices, *stale),
        seconds=time.monotonic() - began,
    )
    if gate is not None and not gate.passed:
        engine.end_commands()
        raise GateFailedError(startup)
    return startup


def wait(
    place: Workplace,
    instance: Instance,
    *,
    timeout: float | None,
    only: frozenset[CheckName] | None,
    observe: Observer,
) -> Startup:
    """The gate alone, on a stack that something else started. Changes nothing but lost workers.

    May begin before an `up` in another process has made the first container.
    Raises GateFailedError, and what `compose` raises.
    """
    began = time.monotonic()
    engine = place.engine(instance.engine)
    with interruptible(engine, instance):
        composition = compose(place, instance, engine)
        request = _gate_request(composition, timeout=timeout, only=only)
        lock = place.home.instance_lock(instance.id)
        gate = asyncio.run(_prove(engine, request, observe, starting=lambda: is_held(lock)))
    startup = Startup(
        instance=instance,
        stack=composition.isolation.stack,
        gate=gate,
        notices=(),
        seconds=time.monotonic() - began,
    )
    if not gate.passed:
        engine.end_commands()
        raise GateFailedError(startup)
    return startup


def _gate_request(
    composition: Composition, *, timeout: float | None, only: frozenset[CheckName] | None = None
) -> GateRequest:
    settings = composition.settings
    return GateRequest(
        instance=composition.instance,
        stack=composition.isolation.stack,
        timeout=settings.gate_timeout if timeout is None else timeout,
        health_paths=settings.health_paths,
        heal_workers=settings.heal_workers,
        only=only,
    )


def _prepared(place: Workplace, instance: Instance, engine: Engine) -> Composition:
    """Everything before the engine creates a thing: checks, files, folders, image names."""
    versions, existing = asked(engine.versions), asked(engine.containers)
    # Its failure first: an engine that does not answer fails all, and says why best.
    require_compose(versions.result())
    composition = compose(place, instance, engine)
    containers = existing.result()
    refuse(composition.isolation)
    refuse_foreign(instance, containers)
    refuse_paused(instance, containers)
    refuse_busy_ports(composition, containers)
    write_down(place, composition)
    former = record.load(place.home, instance)
    record.save(place.home, instance, composition.isolation, inputs=former.inputs)
    for seed in composition.isolation.seeds:
        engine.tag(seed.base, seed.target)
    return composition


def _to_build(composition: Composition, *, everything: bool) -> dict[str, str]:
    """Images to build, each with one service of it: KTRDR's seven that share a tag need one build.

    An image that is there, or was just named from the base tag, is only built with --build.
    """
    here = composition.images | {seed.target for seed in composition.isolation.seeds}
    first: dict[str, str] = {}
    for service in composition.isolation.stack.active:
        image = service.image or f"{composition.instance.id}-{service.name}"
        reference = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
        if service.builds and (everything or reference not in here):
            first.setdefault(image, service.name)
    return first


def _stale_images(
    place: Workplace, composition: Composition, *, built: frozenset[str]
) -> list[Notice]:
    """Note what each image was made of, and tell where the checkout has other files now."""
    instance = composition.instance
    former = record.load(place.home, instance).inputs
    seeded = {seed.target for seed in composition.isolation.seeds}
    made_of, notices = {}, []
    for source in composition.inputs:
        now = source.digest()
        parent = instance.parent_repo
        if source.reference in built:
            made_of[source.reference] = now
        elif source.reference in seeded and parent is not None:
            made_of[source.reference] = source.moved(instance.path, parent).digest()
        else:
            made_of[source.reference] = former.get(source.reference, now)
        if made_of[source.reference] != now:
            text = (
                f"the Dockerfile or a dependency file differs from what {source.reference} was "
                "made of: up --build makes it anew"
            )
            notices.append(Notice(service=source.service, text=text))
    record.save(place.home, instance, composition.isolation, inputs=made_of)
    return notices


async def _start(
    engine: Engine,
    composition: Composition,
    options: UpOptions,
    progress: LineSink,
    observe: Observer,
) -> GateResult | None:
    """Start in order; with `wait`, the gate watches from the first moment."""
    starter = Starter(
        engine=engine,
        call=composition.call,
        stack=composition.isolation.stack,
        uuid=composition.instance.uuid,
        progress=progress,
    )
    if not options.wait:
        try:
            await starter.run()
        except CannotStartError as failure:
            raise SandboxError("compose-failed", f"{failure}.") from failure
        return None
    request = _gate_request(composition, timeout=options.timeout)
    return await _start_and_prove(engine, starter, request, observe)


async def _prove(
    engine: Engine, request: GateRequest, observe: Observer, *, starting: Callable[[], bool]
) -> GateResult:
    """The gate, which takes a container that is missing or down for a failure only when nobody is
    `starting` the stack."""
    started = asyncio.Event()

    async def watch() -> None:
        while starting():  # noqa: ASYNC110  a lock between processes has no event
            await asyncio.sleep(STARTING_POLL)
        started.set()

    watching = asyncio.create_task(watch())
    try:
        return await run_gate(engine, request, observe=observe, started=started)
    finally:
        watching.cancel()


async def _start_and_prove(
    engine: Engine, starter: Starter, request: GateRequest, observe: Observer
) -> GateResult:
    """The gate's word, unless Compose itself fails: that says more, and has statuses of its own."""
    started = asyncio.Event()
    gate = asyncio.create_task(run_gate(engine, request, observe=observe, started=started))
    start = asyncio.create_task(starter.run())
    try:
        await asyncio.wait({gate, start}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            _raise_failure(start)
            started.set()
        result = await gate
        if result.passed:
            await asyncio.wait({start})  # what runs after a start belongs to it
            _raise_failure(start)
        else:
            await starter.finish(within=LAST_BATCH)
        return result
    finally:
        for task in (gate, start):
            task.cancel()
        await asyncio.gather(gate, start, return_exceptions=True)


def _raise_failure(start: asyncio.Task[None]) -> None:
    with contextlib.suppress(CannotStartError):  # the gate names what ended, and why
        start.result()
