"""The one place that builds the objects a command works with."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.engine.interface import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.registry.store import RegistryStore
from ktrdr_sandbox.targeting import target

if TYPE_CHECKING:
    from ktrdr_sandbox.settings import Settings


def workplace(output: Output, *, purpose: str = "") -> Workplace:
    """The real workplace. `purpose` is what others waiting for our locks are told."""
    home = Home.from_environment()
    return Workplace(
        home=home,
        cwd=_working_directory(),
        environment=dict(os.environ),
        registry=RegistryStore(
            home.registry,
            home.registry_lock,
            tell=output.tell,
            purpose=purpose or output.command,
        ),
        engine=_engine,
        settings=functools.partial(_settings, home),
        tell=output.tell,
    )


def instance_of(place: Workplace, name: str | None) -> Instance:
    """The instance a command means. Raises `no-such-instance`, `not-in-instance`."""
    return target(place.registry.read(), name=name, cwd=place.cwd)


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise SandboxError(
            "not-in-instance",
            "The current directory no longer exists.",
            hints=("Change to another directory.",),
        ) from None


def _engine(address: EngineAddress) -> Engine:
    from ktrdr_sandbox.engine.docker import DockerEngine

    return DockerEngine(address, os.environ)


def _settings(home: Home, checkout: Path | None) -> Settings:
    from ktrdr_sandbox.settings import load_settings

    return load_settings(home, checkout=checkout)
