"""The clone's `.venv` with the project installed, made once for each state of pyproject.toml."""

import hashlib
import json
import os
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.lab import files
from tests.lab.commands import answers, run_logged
from tests.lab.errors import HostError
from tests.lab.host import install
from tests.lab.progress import step

PIP_LIMIT = 1200.0  # seconds
DEBIAN_PYTHON = Path("/usr/bin")
STAMP = "ktrdr-sandbox-lab.json"


@dataclass(frozen=True)
class Stamp:
    """What a virtual environment was made of; kept inside it."""

    clone: str
    project: str  # SHA-256 of pyproject.toml
    extras: frozenset[str] = frozenset()

    def serves(self, wanted: "Stamp") -> bool:
        same = (self.clone, self.project) == (wanted.clone, wanted.project)
        return same and self.extras >= wanted.extras


@dataclass(frozen=True)
class Venv:
    clone: Path
    cache: Path

    @property
    def folder(self) -> Path:
        return self.clone / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def ensure(self, extras: Collection[str]) -> None:
        wanted = self._wanted(frozenset(extras))
        if self.has(wanted):
            return
        name = hashlib.sha256(wanted.clone.encode()).hexdigest()[:12]
        with files.lock(files.make_folder(self.cache) / f"venv-{name}.lock"):
            if not self.has(wanted):
                self._make(wanted)

    def has(self, wanted: Stamp) -> bool:
        found = self.stamp()
        return found is not None and found.serves(wanted) and self.python.exists()

    def stamp(self) -> Stamp | None:
        try:
            document = json.loads((self.folder / STAMP).read_text())
            return Stamp(document["clone"], document["project"], frozenset(document["extras"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _wanted(self, extras: frozenset[str]) -> Stamp:
        project = (self.clone / "pyproject.toml").read_bytes()
        return Stamp(str(self.clone), hashlib.sha256(project).hexdigest(), extras)

    def _make(self, wanted: Stamp) -> None:
        log, before = self.cache / "venv.log", self.stamp()
        with step("virtual environment", slow=True):
            if not self._fit(before):
                self._create(log)
            elif before is not None:
                # the demo after the tests must not take the tests' packages away
                wanted = replace(wanted, extras=wanted.extras | before.extras)
            self._install(wanted.extras, log)
        content = {**asdict(wanted), "extras": sorted(wanted.extras)}
        files.replace(self.folder / STAMP, json.dumps(content) + "\n", mode=0o644)

    def _fit(self, before: Stamp | None) -> bool:
        """A folder that was moved here has programs that start the Python of its old place."""
        if before is not None and before.clone != str(self.clone):
            return False
        return answers([str(self.python), "-m", "pip", "--version"], limit=60)

    def _create(self, log: Path) -> None:
        base = Path(getattr(sys, "_base_executable", sys.executable))
        if not answers([str(base), "-c", "import ensurepip"], limit=60):
            _add_ensurepip(base, log)
        argv = [str(base), "-m", "venv", "--clear", str(self.folder)]
        run_logged(argv, log=log, limit=300)

    def _install(self, extras: Collection[str], log: Path) -> None:
        what = f".[{','.join(sorted(extras))}]" if extras else "."
        pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-e", what)
        argv = ["env", "-C", str(self.clone), str(self.python), *pip]
        run_logged(argv, log=log, limit=PIP_LIMIT, env={**os.environ, "PIP_USER": "0"})


def _add_ensurepip(base: Path, log: Path) -> None:
    """Debian keeps this part of Python in a package of its own."""
    if base.parent != DEBIAN_PYTHON:
        raise HostError(f"{base} has no ensurepip", "install a complete Python")
    name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    install([name], log=log, why="a virtual environment")
