"""Whether an image was made from other files than the checkout has now.

An instance starts from the image that the base tag names, or goes on with the one it built, so that
nothing rebuilds by itself. When the Dockerfile or a dependency file differs, that is worth a note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.models import Stack

_DEPENDENCY_FILES: Final = (
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "setup.py",
    "setup.cfg",
    "requirements*.txt",
    ".python-version",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "go.mod",
    "go.sum",
    "Cargo.toml",
    "Cargo.lock",
)
"""What decides the packages in an image, in the root of its build context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInput:
    """What one image is built from: a context folder and the Dockerfile in or beside it."""

    reference: str
    service: str
    context: Path
    dockerfile: Path

    def digest(self) -> str:
        """Over names and content of the Dockerfile and the dependency files that exist."""
        found = {self.dockerfile}
        for pattern in _DEPENDENCY_FILES:
            found.update(self.context.glob(pattern))
        whole = hashlib.sha256()
        for path in sorted(path for path in found if path.is_file()):
            whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()

    def moved(self, root: Path, other: Path) -> BuildInput:
        """The same files in another checkout."""
        return BuildInput(
            reference=self.reference,
            service=self.service,
            context=_moved(self.context, root, other),
            dockerfile=_moved(self.dockerfile, root, other),
        )


def _moved(path: Path, root: Path, other: Path) -> Path:
    return other / path.relative_to(root) if path.is_relative_to(root) else path


def build_inputs(model: Mapping[str, Any], stack: Stack) -> tuple[BuildInput, ...]:
    """One for each image that an active service builds from a local folder."""
    found: dict[str, BuildInput] = {}
    for service in stack.active:
        build = model["services"][service.name].get("build") or {}
        context = Path(str(build.get("context", "")).replace("$$", "$"))
        if service.image and context.is_absolute() and not build.get("dockerfile_inline"):
            name = str(build.get("dockerfile") or "Dockerfile").replace("$$", "$")
            found.setdefault(
                service.image,
                BuildInput(
                    reference=service.image,
                    service=service.name,
                    context=context,
                    dockerfile=context / name,
                ),
            )
    return tuple(found.values())
