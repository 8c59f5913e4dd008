"""The one place that builds the objects a command works with."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.commands import relocated
from ktrdr_sandbox.commands.context import Context, current, recover
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.docker.environment import current_address
from ktrdr_sandbox.env_file import find
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.naming import instance_id
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.process import current_environment
from ktrdr_sandbox.settings import Settings, is_nothing_set
from ktrdr_sandbox.state import rebuild
from ktrdr_sandbox.state.registry import Rebuilt, RegistryStore
from ktrdr_sandbox.targeting import target

if TYPE_CHECKING:
    from ktrdr_sandbox.docker.engine import Engine

REGISTRY_PATIENCE: Final = 30.0  # seconds: it is held for moments, so what lasts longer hangs


def command_context(output: Output, *, purpose: str = "") -> Context:
    """Build the real context. `purpose` is what others waiting for our locks are told."""
    home, cwd = Home.from_environment(), _working_directory()
    settings = functools.partial(_settings, home, output, set())

    def rebuilt(damaged: str) -> Rebuilt:
        here = current_address(os.environ)
        places = rebuild.Places(home=home, cwd=cwd, engine=_engine, here=here)
        return rebuild.rebuild(places, copies=store.copies(), damaged=damaged)

    store = RegistryStore(
        home.registry,
        home.registry_lock,
        patience=lambda: min(REGISTRY_PATIENCE, settings(None).lock_patience),
        rebuild=rebuilt,
        tell=output.tell,
        purpose=purpose or output.command,
    )
    return Context(
        home=home,
        cwd=cwd,
        environment=current_environment(),
        registry=store,
        engine=_engine,
        settings=settings,
        tell=output.tell,
    )


def instance_of(context: Context, name: str | None) -> Instance:
    """Resolve the target instance, running crash recovery first.

    Raises `no-such-instance`, `not-in-instance`, and what recovery raises.
    """
    if name is not None:  # it may be unknown to the registry already, or not know it any more
        recover(context, instance_id(name))
    instance = target(context.registry.read(), name=name, cwd=context.cwd)
    if recover(context, instance.id):
        instance = current(context, instance)
    marker = find(context.cwd) if name is None else None
    return relocated.resolve_moved(context, instance, here=marker.parent if marker else None)


def instance_to_end(context: Context, name: str | None) -> Instance | None:
    """Resolve the instance to be destroyed; None when recovery has just done it.

    Raises as `instance_of`.
    """
    known = context.registry.read()
    identity = instance_id(name) if name else target(known, name=None, cwd=context.cwd).id
    if recover(context, identity) and identity not in context.registry.read().instances:
        return None
    return instance_of(context, name)


def _working_directory() -> Path:
    """The current directory; one that was deleted by the name that the shell still has for it.

    Commands that are given an instance need none. What they start does, so this process leaves it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        os.chdir(os.sep)
        told = Path(os.environ.get("PWD", ""))
        return told if told.is_absolute() else Path(os.sep)


def _engine(address: EngineAddress) -> Engine:
    from ktrdr_sandbox.docker.cli import DockerEngine  # TAB and several commands need no Docker

    return DockerEngine(address, current_environment())


def _settings(home: Home, output: Output, told: set[str], checkout: Path | None) -> Settings:
    """Settings for a checkout; what there is to say of them is told once a command."""
    if is_nothing_set(home, checkout):
        return Settings()
    from ktrdr_sandbox.commands.configuration import resolved  # pydantic, 0.2 s

    found = resolved(home, checkout)
    for about, remark in found.remarks.items():
        if about not in told:
            told.add(about)
            output.tell(remark)
    return found.settings
