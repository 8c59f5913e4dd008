"""up: isolate, create, start in order, and prove by the Startability Gate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands import bundle as bundles
from ktrdr_sandbox.commands import prepare
from ktrdr_sandbox.commands.compose_project import Composition, compose
from ktrdr_sandbox.commands.context import Context, is_locked, locked_instance
from ktrdr_sandbox.commands.interrupt import interruptible
from ktrdr_sandbox.commands.migrate import plan_migration
from ktrdr_sandbox.commands.start_order import CannotStartError, Starter
from ktrdr_sandbox.docker.engine import Engine, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.gate import run_gate
from ktrdr_sandbox.gate.http import load as load_http
from ktrdr_sandbox.gate.result import CheckName, GateProgress, GateRequest, GateResult
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.isolation.request import Notice
from ktrdr_sandbox.models import Instance, Stack
from ktrdr_sandbox.settings import Settings
from ktrdr_sandbox.state import journal

Observer = Callable[[GateProgress], None]

# What `up` proves when nobody waits for the gate.
SCHEMA: Final[frozenset[CheckName]] = frozenset({"database", "migrations"})

LAST_BATCH: Final = 3.0  # seconds for a start under way to end when the gate has failed
STARTING_POLL: Final = 0.05  # seconds between two looks at whether a process still starts the stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """What up did. `gate` is None when nobody waited for it; `seconds` is the whole command.

    `migration_output` are the last lines of a schema migration, as many as were kept.
    """

    instance: Instance
    stack: Stack
    gate: GateResult | None
    notices: tuple[Notice, ...]
    seconds: float
    migration_output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """`timeout` in seconds for the gate, None for the setting's. `bundle` is a file to write what
    a report of the outcome needs to, whatever the outcome is."""

    wait: bool = True
    build: bool = False
    timeout: float | None = None
    bundle: Path | None = None


class GateFailedError(SandboxError):
    """The stack started but is not ready; `startup` holds the whole report."""

    def __init__(self, startup: Startup) -> None:
        checks = startup.gate.checks if startup.gate is not None else ()
        commands = dict.fromkeys(check.next_command for check in checks if check.next_command)
        super().__init__(
            "gate-failed",
            f"{startup.instance.id} started but is not ready.",
            hints=[f"Next: {command}" for command in commands],
        )
        self.startup = startup


def up(
    context: Context,
    instance: Instance,
    options: UpOptions,
    *,
    progress: LineSink,
    observe: Observer,
) -> Startup:
    """Bring the stack up; safe to repeat on a running one.

    Raises `port-conflict`, `isolation-refused`, `compose-failed`, `image-missing`, GateFailedError,
    what `compose` raises, and for the bundle `file-exists` and `cannot-write`.
    """
    bundle = options.bundle
    if bundle is not None:
        bundles.refuse_target(bundle)
    try:
        startup = _up(context, instance, options, progress, observe)
    except SandboxError as error:
        if bundle is not None:
            bundles.offer_bundle(context, instance, bundle, error=error)
        raise
    failed = startup.gate is not None and not startup.gate.passed
    if bundle is not None:
        logs = {"migration": startup.migration_output} if startup.migration_output else {}
        write = bundles.offer_bundle if failed else bundles.write_bundle
        write(context, instance, bundle, gate=startup.gate, logs=logs)
    if failed:
        raise GateFailedError(startup)
    return startup


def _up(
    context: Context,
    instance: Instance,
    options: UpOptions,
    progress: LineSink,
    observe: Observer,
) -> Startup:
    """The start and its proof; a gate that failed is in the result."""
    began = time.monotonic()
    kept: list[Notice] = []
    output: list[str] = []
    with (
        locked_instance(context, instance, purpose="up") as instance,
        journal.operation(context.home, instance.id, "up", {}) as log,
        interruptible(engine := context.engine(instance.engine), instance),
    ):
        log.begin("files and image tags")
        composition, recreate = prepare.prepared(context, instance, engine)
        build = prepare.to_build(composition, everything=options.build)
        with prepare.explained(engine, composition):
            run_in_background(load_http)  # by the end of the next wait it is there
            log.begin("containers")
            engine.compose_create(
                composition.call,
                build=list(build.values()),
                recreate=recreate,
                progress=prepare.noting_volumes(progress, instance, kept),
            )
            prepare.keep_names_at_home(engine, composition)
            stale = prepare.stale_images(context, composition, built=frozenset(build))
            migration, unmigrated = plan_migration(context, composition, engine)
            request = _gate_request(
                composition, options.timeout, only=None if options.wait else SCHEMA
            )
            request = replace(request, migration=migration)
            log.begin("start")
            try:
                gate = asyncio.run(_start(engine, composition, request, progress, observe))
            finally:
                output += migration.end() if migration is not None else ()
    startup = _startup(composition, engine, gate, began)
    return replace(
        startup,
        gate=startup.gate if options.wait or (gate and not gate.passed) else None,
        notices=(*composition.isolation.notices, *kept, *stale, *unmigrated, *startup.notices),
        migration_output=tuple(output),
    )


def wait(
    context: Context,
    instance: Instance,
    *,
    timeout: float | None,
    only: frozenset[CheckName] | None,
    observe: Observer,
    heal: bool = True,
) -> Startup:
    """The gate alone, on a stack that something else started. Changes nothing but lost workers,
    and not even those without `heal`.

    May begin before an `up` in another process has made the first container.
    Raises GateFailedError, and what `compose` raises.
    """
    began = time.monotonic()
    engine = context.engine(instance.engine)
    with interruptible(engine, instance):
        composition = compose(context, instance, engine)
        migration, _ = plan_migration(context, composition, engine, only_checked=True)
        request = _gate_request(composition, timeout, only=only)
        request = replace(request, migration=migration, heal_workers=request.heal_workers and heal)
        starting = partial(is_locked, context, instance.id)
        gate = asyncio.run(_prove(engine, request, observe, starting=starting))
    startup = _startup(composition, engine, gate, began)
    if not gate.passed:
        raise GateFailedError(startup)
    return startup


def _startup(
    composition: Composition, engine: Engine, gate: GateResult | None, began: float
) -> Startup:
    """The outcome without secrets; what a failed gate still asks is ended."""
    if gate is not None:
        if not gate.passed:
            engine.end_commands()
        known = bundles.redactor_for(
            composition.instance, composition.call.environment, composition.model
        )
        gate = bundles.hide_in_gate(gate, known)
    found = gate.not_applicable if gate is not None else ()
    return Startup(
        instance=composition.instance,
        stack=composition.isolation.stack,
        gate=gate,
        notices=tuple(Notice(service=service, text=text) for service, text in found),
        seconds=time.monotonic() - began,
    )


def _gate_request(
    composition: Composition, timeout: float | None, *, only: frozenset[CheckName] | None
) -> GateRequest:
    settings = composition.settings
    return GateRequest(
        instance=composition.instance,
        stack=composition.isolation.stack,
        timeout=settings.gate_timeout if timeout is None else timeout,
        follow_file=timeout is None and settings.gate_timeout == Settings().gate_timeout,
        health_paths=settings.health_paths,
        heal_workers=settings.heal_workers,
        only=only,
    )


async def _start(
    engine: Engine,
    composition: Composition,
    request: GateRequest,
    progress: LineSink,
    observe: Observer,
) -> GateResult | None:
    """Start in order; the gate watches from the first moment where it proves the whole stack.

    Elsewhere the schema is proven all the same, for nothing would make up for it later.
    """
    stack = composition.isolation.stack
    async with StackWatch(engine, stack, composition.instance.uuid) as watch:
        starter = Starter(watch=watch, call=composition.call, stack=stack, progress=progress)
        try:
            if request.only is None or request.migration is not None:
                return await _start_and_prove(starter, request, observe)
            await starter.run()
        except CannotStartError as failure:
            raise SandboxError("compose-failed", f"{failure}.") from failure
    return None


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


async def _start_and_prove(starter: Starter, request: GateRequest, observe: Observer) -> GateResult:
    """The gate's word, unless Compose itself fails: that says more, and has statuses of its own.

    A gate that is asked for less than all does not name what cannot start: then that is raised.
    """
    started = asyncio.Event()
    watch = starter.watch
    gate = asyncio.create_task(
        run_gate(watch.engine, request, observe=observe, started=started, watch=watch)
    )
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
        if request.only is not None and start.done():
            start.result()
        return result
    finally:
        for task in (gate, start):
            task.cancel()
        await asyncio.gather(gate, start, return_exceptions=True)


def _raise_failure(start: asyncio.Task[None]) -> None:
    with contextlib.suppress(CannotStartError):  # the gate names what ended, and why
        start.result()
