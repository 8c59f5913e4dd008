"""End-to-end tests: every one of them on the real engine, and nothing of them left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stacks import LABEL_UUID, MARK, Sandbox, leftovers, sandbox


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
