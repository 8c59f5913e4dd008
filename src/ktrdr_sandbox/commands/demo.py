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
_MARKER: Final = ".made-by-ktrdr-sandbox-demo"  # `demo --clean` removes a folder with it alone
_AUTHOR: Final = ("-c", "user.name=ktrdr-sandbox demo", "-c", "user.email=demo@localhost")


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
        for path in (*folder.rglob("*.yml"), *folder.rglob("Dockerfile*")):
            if not path.is_symlink():
                text = path.read_text(encoding="utf-8")
                for name, replacement in images.items():
                    text = text.replace(name, replacement)
                path.write_text(text, encoding="utf-8")
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
    path = root / "ktrdr/version.py"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [f"GREETING = {text!r}\n" if x.startswith("GREETING = ") else x for x in lines]
    path.write_text("".join(changed), encoding="utf-8")


def _commit(folder: Path, message: str) -> None:
    git(["add", "--all"], cwd=folder)
    options = ["--quiet", "--no-verify", "-m", message]
    git([*_AUTHOR, "-c", "commit.gpgsign=false", "commit", *options], cwd=folder)


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
        _make_sample(folder, repository, context.settings(None))
    inside = replace(context, cwd=repository)
    instances = []
    for name in NAMES:
        instance = context.registry.read().instances.get(ID_PREFIX + name)
        if instance is None:
            step(f"Creating instance {name}")
            instance = create(inside, name=name, branch=None, slot=None).instance
        instances.append(instance)
    startups = []
    for instance in instances:
        step(f"Starting {instance.id} (slot {instance.slot})")
        watch = observer(instance.name)
        startups.append(up(inside, instance, UpOptions(), progress=progress, observe=watch))
    return Demonstration(folder=folder, startups=tuple(startups))


def _make_sample(folder: Path, repository: Path, settings: Settings) -> None:
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
    images = {
        "timescale/timescaledb:latest-pg16": settings.demo_database_image,
        "python:3.12-slim": settings.demo_python_image,
        "prom/prometheus:latest": settings.demo_prometheus_image,
        "grafana/grafana:latest": settings.demo_grafana_image,
        "jaegertracing/all-in-one:1.53": settings.demo_jaeger_image,
    }
    make_repository(repository, images=images, branches=NAMES)


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
    is_ours = (folder / _MARKER).exists()
    if is_ours:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
    return Cleanup(destroyed=tuple(destroyed), folder=folder if is_ours else None)
