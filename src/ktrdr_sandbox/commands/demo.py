"""demo: two stacks of the sample application side by side, and away again without a trace."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ktrdr_sandbox.commands.compose_files import compose_folder
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.create import create
from ktrdr_sandbox.commands.destroy import destroy
from ktrdr_sandbox.commands.up import Observer, Startup, UpOptions, up
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder
from ktrdr_sandbox.git.git import git
from ktrdr_sandbox.models import ID_PREFIX, Instance
from ktrdr_sandbox.settings import Settings

NAMES: Final = ("demo-one", "demo-two")
MANIFEST: Final = "MANIFEST.toml"
_MARKER: Final = ".made-by-ktrdr-sandbox-demo"
"""Only a folder that holds this file is ever removed by `demo --clean`."""

_AUTHOR: Final = ("-c", "user.name=ktrdr-sandbox demo", "-c", "user.email=demo@localhost")
_VERSION_FILE: Final = "ktrdr/version.py"


def make_repository(folder: Path, *, images: Mapping[str, str], branches: Sequence[str]) -> None:
    """Write the sample into `folder` and commit it on `main`, with one commit on each branch.

    `images` maps image names in the sample to those to use. Each branch greets by its own name, so
    that two stacks can be told apart by what they answer. Raises `cannot-write`, `git-failed`.
    """
    source = compose_folder() / "sample"
    manifest = tomllib.loads((source / MANIFEST).read_text(encoding="utf-8"))
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc", MANIFEST)
    try:
        shutil.copytree(source, folder, ignore=skipped, dirs_exist_ok=True)
        for packaged, real in manifest["renames"].items():
            (folder / packaged).rename(folder / real)
        for link, goal in manifest["symlinks"].items():
            (folder / link).symlink_to(goal)
        _name_images(folder, images)
    except OSError as error:
        raise cannot_write(folder, error) from error
    git(["init", "--quiet", "--initial-branch=main"], cwd=folder)
    _commit(folder, "KTRDR-shaped sample application")
    for branch in branches:
        git(["switch", "--quiet", "--create", branch, "main"], cwd=folder)
        greet_as(folder, branch)
        _commit(folder, f"Greet from {branch}")
    git(["switch", "--quiet", "main"], cwd=folder)


def greet_as(root: Path, text: str) -> None:
    """Change the code of one checkout so that its backend greets with `text`."""
    path = root / _VERSION_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [f"GREETING = {text!r}\n" if x.startswith("GREETING = ") else x for x in lines]
    path.write_text("".join(changed), encoding="utf-8")


def _commit(folder: Path, message: str) -> None:
    git(["add", "--all"], cwd=folder)
    options = ["--quiet", "--no-verify", "-m", message]
    git([*_AUTHOR, "-c", "commit.gpgsign=false", "commit", *options], cwd=folder)


def _name_images(folder: Path, images: Mapping[str, str]) -> None:
    for path in (*folder.rglob("*.yml"), *folder.rglob("Dockerfile*")):
        if path.is_symlink():
            continue
        text = path.read_text(encoding="utf-8")
        for name, replacement in images.items():
            text = text.replace(name, replacement)
        path.write_text(text, encoding="utf-8")


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
    context: Context,
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
        _make(folder, repository, context.settings(None))
    inside = replace(context, cwd=repository)
    instances = [_instance(inside, name, step) for name in NAMES]
    startups = []
    for instance in instances:
        step(f"Starting {instance.id} (slot {instance.slot})")
        startups.append(
            up(inside, instance, UpOptions(), progress=progress, observe=observer(instance.name))
        )
    return Demonstration(folder=folder, startups=tuple(startups))


def _make(folder: Path, repository: Path, settings: Settings) -> None:
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


def sample_images(settings: Settings) -> dict[str, str]:
    """Image names in the sample to those the settings choose."""
    return {
        "timescale/timescaledb:latest-pg16": settings.demo_database_image,
        "python:3.12-slim": settings.demo_python_image,
        "prom/prometheus:latest": settings.demo_prometheus_image,
        "grafana/grafana:latest": settings.demo_grafana_image,
        "jaegertracing/all-in-one:1.53": settings.demo_jaeger_image,
    }


def _instance(context: Context, name: str, step: Callable[[str], None]) -> Instance:
    registered = context.registry.read().instances.get(ID_PREFIX + name)
    if registered is not None:
        return registered
    step(f"Creating instance {name}")
    return create(context, name=name, branch=None, slot=None).instance


def clean(context: Context, folder: Path, *, step: Callable[[str], None]) -> Cleanup:
    """Destroy both instances and remove the scratch folder, if a demo made it."""
    registered = context.registry.read().instances
    destroyed = []
    for name in NAMES:
        instance = registered.get(ID_PREFIX + name)
        if instance is not None and instance.path.parent == folder:
            step(f"Destroying {instance.id}")
            destroy(context, instance, keep_worktree=False, force=True)
            destroyed.append(instance)
    if not (folder / _MARKER).exists():
        return Cleanup(destroyed=tuple(destroyed), folder=None)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return Cleanup(destroyed=tuple(destroyed), folder=folder)
