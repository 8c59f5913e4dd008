"""Which Compose files a checkout has, in the order of the product contract."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError

_SANDBOX: Final = "docker-compose.sandbox.yml"
_ROOT: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""Compose's own names in Compose's own order."""
_DEPLOYED: Final = Path("deploy/environments/local/docker-compose.yml")


def compose_files(root: Path, *, configured: str | None) -> tuple[Path, ...]:
    """The files to read, base first. Raises `compose-file-missing`.

    A root file brings the override file that plain `docker compose` would merge into it.
    """
    if configured is not None:
        return (_configured(root, configured),)
    own = own_compose_files(root)
    if own:
        return own
    if _names_ktrdr(root):
        return (packaged_compose_file(),)
    raise SandboxError(
        "compose-file-missing",
        f"{root} has no Compose file.",
        hints=(
            f"Looked for {_SANDBOX}, {', '.join(_ROOT)}, {_DEPLOYED}.",
            "Name it: KTRDR_SANDBOX_COMPOSE_FILE=path/to/compose.yml",
        ),
        details={"path": str(root)},
    )


def own_compose_files(root: Path) -> tuple[Path, ...]:
    """Those that lie in the checkout; () when there are none."""
    if (root / _SANDBOX).is_file():
        return (root / _SANDBOX,)
    for name in _ROOT:
        base = root / name
        if base.is_file():
            return (base, *_override_of(base))
    return (root / _DEPLOYED,) if (root / _DEPLOYED).is_file() else ()


def _override_of(base: Path) -> tuple[Path, ...]:
    for suffix in (".yml", ".yaml"):
        override = base.with_name(f"{base.stem}.override{suffix}")
        if override.is_file():
            return (override,)
    return ()


def _configured(root: Path, configured: str) -> Path:
    path = root / configured
    if not path.is_file():
        raise SandboxError(
            "compose-file-missing",
            f"The configured Compose file {path} does not exist.",
            hints=("Correct the setting compose_file, or leave it out.",),
            details={"path": str(path)},
        )
    return path


def packaged_compose_file() -> Path:
    """`compose/docker-compose.yml` of this package, from the wheel or from a source checkout."""
    return compose_folder() / "docker-compose.yml"


def compose_folder() -> Path:
    """The packaged `compose/` folder."""
    inside = Path(str(files("ktrdr_sandbox"))) / "compose"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "compose"


def is_ktrdr_checkout(root: Path) -> bool:
    """A checkout this program can run: KTRDR by its name, or any with a Compose file."""
    return bool(own_compose_files(root)) or _names_ktrdr(root)


def _names_ktrdr(root: Path) -> bool:
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    project = document.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return isinstance(name, str) and re.sub(r"[-_.]+", "-", name).lower() == "ktrdr"
