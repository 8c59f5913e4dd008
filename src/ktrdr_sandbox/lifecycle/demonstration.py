"""demo: two stacks of the sample application side by side, and away again without a trace."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.durable import cannot_write, make_folder
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.creation import create
from ktrdr_sandbox.lifecycle.sample import make_repository
from ktrdr_sandbox.lifecycle.startup import Observer, Startup, UpOptions, up
from ktrdr_sandbox.lifecycle.teardown import destroy
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import ID_PREFIX, Instance

if TYPE_CHECKING:
    from ktrdr_sandbox.settings import AnySettings

NAMES: Final = ("demo-one", "demo-two")
_MARKER: Final = ".made-by-ktrdr-sandbox-demo"
"""Only a folder that holds this file is ever removed by `demo --clean`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """The two running stacks."""

    folder: Path
    startups: tuple[Startup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """What `demo --clean` took away; `folder` is None when there was none."""

    destroyed: tuple[Instance, ...]
    folder: Path | None


def demonstrate(
    place: Workplace,
    folder: Path,
    *,
    step: Callable[[str], None],
    progress: Callable[[str], None],
    observer: Callable[[str], Observer],
) -> Demonstration:
    """Make the sample repository, create both instances and bring them up.

    Repeatable: what exists is used again. `step` gets a sentence before each step, `observer`
    makes a gate observer for an instance's name.
    """
    repository = folder / "ktrdr"
    if not (repository / ".git").is_dir():
        step(f"Making the sample repository in {repository}")
        _make(folder, repository, place.settings(None))
    inside = replace(place, cwd=repository)
    instances = [_instance(inside, name, step) for name in NAMES]
    startups = []
    for instance in instances:
        step(f"Starting {instance.id} (slot {instance.slot})")
        startups.append(
            up(inside, instance, UpOptions(), progress=progress, observe=observer(instance.name))
        )
    return Demonstration(folder=folder, startups=tuple(startups))


def _make(folder: Path, repository: Path, settings: AnySettings) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise SandboxError(
            "directory-exists",
            f"The directory {folder} exists and is not of an earlier demo.",
            hints=("Choose another: demo --directory PATH",),
            details={"path": str(folder)},
        )
    make_folder(repository)
    try:
        (folder / _MARKER).touch()
    except OSError as error:
        raise cannot_write(folder, error) from error
    make_repository(repository, images=sample_images(settings), branches=NAMES)


def sample_images(settings: AnySettings) -> dict[str, str]:
    """Image names in the sample to those the settings choose."""
    return {
        "timescale/timescaledb:latest-pg16": settings.demo_database_image,
        "python:3.12-slim": settings.demo_python_image,
        "prom/prometheus:latest": settings.demo_prometheus_image,
        "grafana/grafana:latest": settings.demo_grafana_image,
        "jaegertracing/all-in-one:1.53": settings.demo_jaeger_image,
    }


def _instance(place: Workplace, name: str, step: Callable[[str], None]) -> Instance:
    registered = place.registry.read().instances.get(ID_PREFIX + name)
    if registered is not None:
        return registered
    step(f"Creating instance {name}")
    return create(place, name=name, branch=None, slot=None).instance


def clean(place: Workplace, folder: Path, *, step: Callable[[str], None]) -> Cleanup:
    """Destroy both instances and remove the scratch folder, if a demo made it."""
    registered = place.registry.read().instances
    destroyed = []
    for name in NAMES:
        instance = registered.get(ID_PREFIX + name)
        if instance is not None and instance.path.parent == folder:
            step(f"Destroying {instance.id}")
            destroy(place, instance, keep_worktree=False, force=True)
            destroyed.append(instance)
    if not (folder / _MARKER).exists():
        return Cleanup(destroyed=tuple(destroyed), folder=None)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return Cleanup(destroyed=tuple(destroyed), folder=folder)
