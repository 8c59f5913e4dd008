"""End-to-end tests: every one of them on the real engine, and nothing of them left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labels import LABEL_UUID
from tests.support.stacks import MARK, Sandbox, Stack, git, leftovers, sandbox


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """No container, network or volume of this run's instances may stay.

    Others may be at work on this engine: only what has this run's mark in its name is its own.
    """
    yield
    left = [found for found in leftovers(f"label={LABEL_UUID}") if MARK in found]
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture(scope="session")
def mark() -> str:
    """Begins the name of every instance of this run."""
    return MARK


@pytest.fixture
def light(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox with a repository of three services."""
    with sandbox(tmp_path / "place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Where `stack` is, for the group of tests "shared stack"."""
    with sandbox(tmp_path_factory.mktemp("shared") / "place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="session")
def created(place: Sandbox, mark: str) -> Stack:
    return place.create(f"{mark}-shared")


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """An instance that is down and has the files of its branch; its database stays as it was."""
    place.run("down", created.name, "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    return created


@pytest.fixture
def empty_stack(place: Sandbox, stack: Stack) -> Stack:
    """`stack` without a database."""
    place.run("down", stack.name, "--volumes").expect(0)
    assert stack.leftovers() == []
    return stack
