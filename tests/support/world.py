"""A machine of its own for tests of the command line: a home, a repository, the real program."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support import documents
from tests.support.program import run_program
from tests.support.repositories import GitRepository, repository

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


@dataclass(frozen=True, repr=False)
class Outcome:
    """One run of the program. `stdout` and `stderr` as printed, without replacements."""

    argv: tuple[str, ...]
    cwd: Path
    exit_code: int
    stdout: str
    stderr: str
    world: World

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"<ktrdr-sandbox {' '.join(self.argv)}",
                f"in {self.cwd}: exit status {self.exit_code}",
                f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}--- end>",
            ]
        )

    @property
    def out(self) -> str:
        """stdout with what differs from run to run replaced."""
        return self.world.shown(self.stdout)

    @property
    def err(self) -> str:
        """stderr with what differs from run to run replaced."""
        return self.world.shown(self.stderr)

    @property
    def document(self) -> dict[str, Any]:
        """The envelope, valid by the schema, and all there is: nothing on stderr."""
        assert self.stderr == "", self
        assert self.stdout.endswith("\n"), self
        assert self.stdout.count("\n") == 1, self
        found = json.loads(self.stdout)
        documents.check(found)
        return dict(found)

    @property
    def data(self) -> dict[str, Any]:
        assert self.exit_code == 0, self
        return dict(self.document["data"])

    @property
    def error(self) -> dict[str, Any]:
        assert self.exit_code != 0, self
        return dict(self.document["error"])


class World:
    """A folder with everything in it; `run` starts the program as a user's shell would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.variables: dict[str, str] = {}

    @cached_property
    def repository(self) -> GitRepository:
        """The main checkout, made when a test first needs it."""
        return repository(self.folder / "ktrdr")

    @property
    def registry_file(self) -> Path:
        return self.home / "sandbox" / "instances.json"

    def registered(self) -> dict[str, Any]:
        """The registry's instances, straight from its file."""
        if not self.registry_file.exists():
            return {}
        return dict(json.loads(self.registry_file.read_text(encoding="utf-8"))["instances"])

    def path_of(self, name: str) -> Path:
        """Where the worktree of an instance belongs."""
        return self.folder / f"ktrdr--{name}"

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> Outcome:
        """Run the program. `env` adds variables, or takes away those set to None."""
        environment: dict[str, str | None] = {
            **os.environ,
            "KTRDR_HOME": str(self.home),
            "COLUMNS": "100",
            "LC_ALL": "C.UTF-8",
            **self.variables,
            **(env or {}),
        }
        where = cwd if cwd is not None else self.repository.root
        done = run_program(
            arguments,
            cwd=where,
            environment={key: value for key, value in environment.items() if value is not None},
        )
        outcome = Outcome(
            argv=arguments,
            cwd=where,
            exit_code=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            world=self,
        )
        assert "Traceback" not in done.stdout + done.stderr, outcome
        assert "\x1b" not in done.stdout + done.stderr, outcome
        return outcome

    def shown(self, text: str) -> str:
        """Text with this world's folder, uuids and times replaced by their kind."""
        text = text.replace(str(self.folder), "<world>")
        text = _STAMP.sub("<time>", _UUID.sub("<uuid>", text))
        return _MINUTE.sub("<minute>", text)


def register(world: World, slots: Mapping[str, int]) -> None:
    """Create instances and write down these slots for them: who uses their ports is no matter."""
    for name in slots:
        made = world.run("create", name)
        assert made.exit_code == 0, made
    document = json.loads(world.registry_file.read_text(encoding="utf-8"))
    for name, slot in slots.items():
        document["instances"][f"ktrdr--{name}"]["slot"] = slot
    world.registry_file.write_text(json.dumps(document), encoding="utf-8")
