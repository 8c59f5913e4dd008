"""Small repositories made from public reports, with the lab's images in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.stacks import (
    MARK,
    Outcome,
    Sandbox,
    Stack,
    commit,
    git,
    sample_images,
    sandbox,
    tiny_image,
    token,
)


class Case:
    """A repository with one Compose file, and an instance of it."""

    def __init__(self, place: Sandbox, stack: Stack) -> None:
        self.place = place
        self.stack = stack

    def up(self, *options: str) -> Outcome:
        return self.place.up(self.stack, *options)

    def check(self, outcome: Outcome, name: str) -> dict[str, Any]:
        """One check of a gate's report."""
        return next(one for one in outcome.data["gate"]["checks"] if one["name"] == name)

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container: `Status`, `ExitCode`, ..."""
        found = self.stack.container(service)
        return {**found["State"], "RestartCount": found["RestartCount"]}


@contextmanager
def case(
    folder: Path,
    compose: str,
    *,
    files: Mapping[str, str] | None = None,
    compose_name: str = "compose.yml",
) -> Iterator[Case]:
    """Make the repository and an instance; `tiny:1`, `pg:1` and `python:1` stand for images."""
    images = sample_images()
    stand_ins = {
        "tiny:1": tiny_image(),
        "pg:1": images["timescale/timescaledb:latest-pg16"],
        "python:1": images["python:3.12-slim"],
    }
    for short, image in stand_ins.items():
        compose = compose.replace(f"image: {short}", f"image: {image}")
    with sandbox(folder / "place") as place:
        place.repository.mkdir()
        git("init", "--quiet", "--initial-branch", "main", cwd=place.repository)
        for path, text in {compose_name: compose, ".gitignore": "/.env\n", **(files or {})}.items():
            file = place.repository / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        commit(place.repository, "one")
        yield Case(place, place.create(f"{MARK}-{token()}"))
