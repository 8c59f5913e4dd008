"""Test runs on an engine: each keeps a note of itself there, so that what a killed one left can go.

The note is a volume without content: it stays exactly as long as what the run may have left, which
starts again with the engine. Nothing is removed that no note speaks for.
"""

import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.commands import attempt, run
from tests.lab.processes import Process
from tests.lab.progress import step

LABEL = "ktrdr-sandbox-lab.run"
LIMIT = 60.0  # seconds for a question or a removal
PROJECT = "com.docker.compose.project"
DIRECTORY = "com.docker.compose.project.working_dir"


@dataclass(frozen=True)
class Run:
    """`mark` is in the name of all it makes, or `folder` holds the project that made it."""

    mark: str
    folder: str
    host: str
    process: Process

    @classmethod
    def of(cls, process: Process, *, mark: str, folder: str) -> "Run":
        return cls(mark=mark, folder=folder, host=platform.node(), process=process)

    @property
    def note(self) -> str:
        return f"ktrdr-sandbox-lab-run-{self.mark}"

    def is_over(self) -> bool:
        """Whether it has ended; of one on another host that shares the engine nobody knows."""
        return self.host == platform.node() and not self.process.runs()

    def owns(self, name: str, labels: Mapping[str, str], projects: frozenset[str]) -> bool:
        project = labels.get(PROJECT, "")
        return (
            project in projects
            or self._has_mark(name)
            or self._has_mark(project)
            or labels.get(DIRECTORY, "").startswith(f"{self.folder}/")
        )

    def _has_mark(self, name: str) -> bool:
        return self.mark in re.split(r"[^a-z0-9]+", name)


def keep_note(run_: Run, env: Mapping[str, str]) -> None:
    text = json.dumps({**vars(run_), "process": vars(run_.process)})
    run(["docker", "volume", "create", f"--label={LABEL}={text}", run_.note], limit=LIMIT, env=env)


def drop_note(run_: Run, env: Mapping[str, str]) -> None:
    """Unless something is left all the same, which an engine may refuse to remove for now."""
    if any(_removals(run_, env)):
        return
    run(["docker", "volume", "rm", run_.note], limit=LIMIT, env=env)


def noted(env: Mapping[str, str]) -> list[Run]:
    found = []
    for volume in _inspected("volume", env, "--filter", f"label={LABEL}"):
        document = json.loads(volume["Labels"][LABEL])
        found.append(Run(**{**document, "process": Process(**document["process"])}))
    return found


def clear(env: Mapping[str, str], *, all_are_over: bool) -> None:
    """Remove what runs left that have ended: with an engine that just started, all of them."""
    over = [one for one in noted(env) if all_are_over or one.is_over()]
    if not over:
        return
    with step(f"{len(over)} test runs were killed: what they left on the engine removed"):
        for one in over:
            for argv in list(_removals(one, env)):
                attempt(["docker", *argv], limit=LIMIT, env=env)
            drop_note(one, env)


def _removals(one: Run, env: Mapping[str, str]) -> Iterator[list[str]]:
    """The commands that take away what is its own, in the order in which that can go."""
    containers = [
        (each["Id"], each["Name"].lstrip("/"), each["Config"]["Labels"] or {})
        for each in _inspected("container", env, "--all")
    ]
    none: frozenset[str] = frozenset()
    projects = frozenset(
        labels[PROJECT]
        for _, name, labels in containers
        if PROJECT in labels and one.owns(name, labels, none)
    )
    owned = [found for found, name, labels in containers if one.owns(name, labels, projects)]
    if owned:
        yield ["container", "rm", "--force", "--volumes", *owned]
    for kind in ("network", "volume"):
        there = ((each["Name"], each["Labels"] or {}) for each in _inspected(kind, env))
        owned = [n for n, labels in there if n != one.note and one.owns(n, labels, projects)]
        if owned:
            yield [kind, "rm", *owned]
    tags = [tag for tag in _tags(env) if one.owns(tag, {PROJECT: tag.partition("/")[0]}, projects)]
    if tags:
        yield ["image", "rm", *tags]


def _inspected(kind: str, env: Mapping[str, str], *options: str) -> list[dict[str, Any]]:
    identities = run(["docker", kind, "ls", "--quiet", *options], limit=LIMIT, env=env).split()
    if not identities:
        return []
    done = attempt(["docker", kind, "inspect", *identities], limit=LIMIT, env=env)
    # one that has gone meanwhile makes a status of 1; those that are there are told all the same
    found = json.loads(done.stdout) if done is not None else []
    assert isinstance(found, list)
    return found


def _tags(env: Mapping[str, str]) -> list[str]:
    form = "{{.Repository}}:{{.Tag}}"
    return run(["docker", "image", "ls", "--format", form], limit=LIMIT, env=env).split()
