"""Turns the packaged sample application into a git repository, for `demo` and for tests."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktrdr_sandbox.durable import cannot_write
from ktrdr_sandbox.lifecycle.checkout import compose_folder
from ktrdr_sandbox.worktrees.git import git

MANIFEST = "MANIFEST.toml"
_IMAGE_FILES = ("*.yml", "Dockerfile*")
_AUTHOR = ("-c", "user.name=ktrdr-sandbox demo", "-c", "user.email=demo@localhost")
_VERSION_FILE = "ktrdr/version.py"


def make_repository(folder: Path, *, images: Mapping[str, str], branches: Sequence[str]) -> None:
    """Write the sample into `folder` and commit it on `main`, with one commit on each branch.

    `images` maps image names in the sample to those to use. Each branch greets by its own name, so
    that two stacks can be told apart by what they answer. Raises `cannot-write`, `git-failed`.
    """
    source = compose_folder() / "sample"
    manifest = tomllib.loads((source / MANIFEST).read_text(encoding="utf-8"))
    try:
        _copy(source, folder, manifest)
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
    git(
        [*_AUTHOR, "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", message],
        cwd=folder,
    )


def _copy(source: Path, folder: Path, manifest: Mapping[str, Mapping[str, str]]) -> None:
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc", MANIFEST)
    shutil.copytree(source, folder, ignore=skipped, dirs_exist_ok=True)
    for packaged, real in manifest["renames"].items():
        (folder / packaged).rename(folder / real)
    for link, goal in manifest["symlinks"].items():
        (folder / link).symlink_to(goal)


def _name_images(folder: Path, images: Mapping[str, str]) -> None:
    for pattern in _IMAGE_FILES:
        for path in folder.rglob(pattern):
            if path.is_symlink():
                continue
            text = path.read_text(encoding="utf-8")
            changed = text
            for name, replacement in images.items():
                changed = changed.replace(name, replacement)
            if changed != text:
                path.write_text(changed, encoding="utf-8")
