"""What every test of the command line starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import held_slot
from tests.support.program import end_program
from tests.support.world import World


@pytest.fixture(scope="session", autouse=True)
def _program() -> Iterator[None]:
    yield
    end_program()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def slot() -> Iterator[int]:
    """A slot that is free on this machine and that no other test uses meanwhile."""
    with held_slot() as number:
        yield number
