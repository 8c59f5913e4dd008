"""One repository of the sample, for timings: its stack under plain Compose, and as an instance."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.commands.demo import make_repository
from tests.bench.harness import compiled, program
from tests.support.stacks import Outcome, run, sample_images, token

TAG: Final = "ktrdr-backend:dev"
"""The sample's image tag: made here, unless it was there before."""

PATIENCE: Final = 600.0

_WRITABLE: Final = (
    "data",
    "logs",
    "models",
    "output",
    "research_agents",
    "training_analytics",
)
"""Folders that the engine would create as root, on which the backend crash-loops."""


@dataclass(frozen=True)
class Stage:
    """`project` names both the plain Compose project and, after the prefix, the instance."""

    repository: Path
    project: str
    environment: Mapping[str, str]

    @property
    def instance(self) -> Path:
        return self.repository.parent / f"ktrdr--{self.project}"

    @property
    def instance_id(self) -> str:
        return f"ktrdr--{self.project}"

    def compose(self, *arguments: str) -> Outcome:
        """Plain Compose in the repository. The script ends when it fails."""
        argv = ["docker", "compose", "-p", self.project, *arguments]
        return _done(run(argv, cwd=self.repository, environment=os.environ, timeout=PATIENCE))

    def tool(self, *arguments: str) -> Outcome:
        """This program, in the instance's directory or the repository."""
        where = self.instance if self.instance.is_dir() else self.repository
        argv = [*self.program, *arguments]
        return _done(run(argv, cwd=where, environment=self.environment, timeout=PATIENCE))

    @property
    def program(self) -> list[str]:
        return program()

    def compose_down(self) -> None:
        self.compose("down", "-v", "--timeout", "0")

    def tool_down(self) -> None:
        self.tool("down", "--volumes", "--now")


def _done(outcome: Outcome) -> Outcome:
    if outcome.code:
        sys.exit(str(outcome))
    return outcome


@contextmanager
def stage() -> Iterator[Stage]:
    """The sample repository with its image built and an instance created; away with the block."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what cleans up
    scratch = Path(tempfile.mkdtemp(prefix="ktrdr-bench-"))
    repository = scratch / "ktrdr"
    repository.mkdir()
    make_repository(repository, images=sample_images(), branches=())
    for name in _WRITABLE:
        (repository / name).mkdir(exist_ok=True)
        (repository / name).chmod(0o777)
    environment = {**compiled(scratch / "bytecode"), "KTRDR_HOME": str(scratch / "home")}
    made = Stage(repository=repository, project=f"bench-{token()}", environment=environment)
    had_image = subprocess.run(["docker", "image", "inspect", TAG], capture_output=True).returncode
    try:
        made.compose("build", "-q")
        made.tool("create", made.project)
        for command in ("up", "destroy"):  # its modules are compiled by then
            made.tool(command, "--dry-run", made.project)
        load_gate = "from ktrdr_sandbox.gate.http import load; load()"
        run([sys.executable, "-c", load_gate], cwd=scratch, environment=environment)
        yield made
    finally:
        made.compose_down()
        if made.instance.is_dir():
            made.tool("destroy", "--yes", "--force", made.project)
        if had_image:
            subprocess.run(["docker", "image", "rm", TAG], capture_output=True, check=False)
        shutil.rmtree(scratch, ignore_errors=True)
