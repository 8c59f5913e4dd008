"""Which Compose files, env files and profiles a checkout has, in the product contract's order."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import Final, NamedTuple

from ktrdr_sandbox import env_file
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.settings import Settings

_SANDBOX: Final = "docker-compose.sandbox.yml"
# Compose's own names in Compose's own order.
_ROOT: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
# Compose takes the first of them, whatever the file beside it is called.
_OVERRIDES: Final = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)
_DEPLOYED: Final = Path("deploy/environments/local/docker-compose.yml")


class ComposeProject(NamedTuple):
    """What is given to Compose: files, base first, and the folder that their paths start from.

    `env_files` are those that the settings name, or the `.env` that plain Compose, run in the root,
    would read; later ones win. `profiles` come from the settings, or from those files.
    """

    directory: Path
    files: tuple[Path, ...]
    env_files: tuple[Path, ...]
    profiles: tuple[str, ...]


def compose_project(root: Path, settings: Settings) -> ComposeProject:
    """What the checkout gives to Compose. Raises `compose-file-missing`."""
    files = compose_files(root, configured=settings.compose_file)
    directory = _directory_of(root, files[0])
    named = [root / name for name in settings.env_files]
    env_files = _existing(named, "the setting env_files")
    if not env_files:
        dotenvs = dict.fromkeys((root / ".env", directory / ".env"))
        env_files = tuple(path for path in dotenvs if path.is_file())
    profiles = settings.profiles
    for path in env_files if not profiles else ():
        words = _compose_variables(path).get("COMPOSE_PROFILES", "").split(",")
        profiles = tuple(word.strip() for word in words if word.strip()) or profiles
    return ComposeProject(directory, files, env_files, profiles)


def _directory_of(root: Path, base: Path) -> Path:
    """The folder of the first file, as for plain Compose, where that lies deeper in the checkout.

    KTRDR's own is used by way of a symlink in the root: its paths are those of the root.
    """
    if base.parent == root or not base.is_relative_to(root) or base == root / _DEPLOYED:
        return root
    links = (root / name for name in _ROOT if (root / name).is_symlink())
    return root if any(link.resolve() == base.resolve() for link in links) else base.parent


def compose_files(root: Path, *, configured: str | None) -> tuple[Path, ...]:
    """The files to read, base first. Raises `compose-file-missing`.

    A root file brings the override file that plain `docker compose` would merge into it.
    """
    if configured is not None:
        return _listed(root, configured, os.pathsep, "the setting compose_file")
    own = _own_compose_files(root)
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


def _own_compose_files(root: Path) -> tuple[Path, ...]:
    """Those that the checkout itself has or names; () when there are none.

    Raises `compose-file-missing` for one that its `.env` names and that is not there.
    """
    if (root / _SANDBOX).is_file():
        return (root / _SANDBOX,)
    values = _compose_variables(root / ".env")
    if values.get("COMPOSE_FILE"):
        separator = values.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        where = f"COMPOSE_FILE in {root / '.env'}"
        return _listed(root, values["COMPOSE_FILE"], separator, where)
    bases = _present(root, _ROOT)
    if bases:
        return (bases[0], *_present(root, _OVERRIDES)[:1])
    return _present(root, [_DEPLOYED])


def _present(root: Path, names: Iterable[str | Path]) -> tuple[Path, ...]:
    return tuple(root / name for name in names if (root / name).is_file())


def _listed(root: Path, text: str, separator: str, where: str) -> tuple[Path, ...]:
    """The files of a list, or of one whose name has the separator in it."""
    parts = [part for part in text.split(separator) if part]
    names = [text] if (root / text).is_file() or not parts else parts
    return _existing([root / name for name in names], where)


def _existing(paths: Sequence[Path], where: str) -> tuple[Path, ...]:
    for path in paths:
        if not path.is_file():
            raise SandboxError(
                "compose-file-missing",
                f"{path}, which {where} names, does not exist.",
                hints=("Correct it there, or leave it out.",),
                details={"path": str(path)},
            )
    return tuple(paths)


def _compose_variables(path: Path) -> Mapping[str, str]:
    """The values of an env file that may set Compose's own variables, which plain Compose obeys."""
    try:
        return env_file.read(path) if b"COMPOSE_" in path.read_bytes() else {}
    except (OSError, SandboxError):  # Compose itself says best what is the matter with it
        return {}


def packaged_compose_file() -> Path:
    """`compose/docker-compose.yml` of this package, from the wheel or from a source checkout."""
    return compose_folder() / "docker-compose.yml"


def compose_folder() -> Path:
    """The packaged `compose/` folder."""
    inside = Path(str(package_files("ktrdr_sandbox"))) / "compose"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "compose"


def is_ktrdr_checkout(root: Path) -> bool:
    """A checkout this program can run: KTRDR by its name, or any with a Compose file."""
    return bool(_own_compose_files(root)) or _names_ktrdr(root)


def _names_ktrdr(root: Path) -> bool:
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    project = document.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return isinstance(name, str) and re.sub(r"[-_.]+", "-", name).lower() == "ktrdr"
