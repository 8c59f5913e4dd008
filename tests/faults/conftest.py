"""A whole machine for each test of faults, kept in memory where that can be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import FaultWorld, quick_folder
from tests.support.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The process that commands are forked from."""
    made = Zygote("tests.faults.zygote")
    yield made
    made.close()


@pytest.fixture
def empty_world(zygote: Zygote) -> Iterator[FaultWorld]:
    """A repository, and no instance yet."""
    with quick_folder() as folder:
        yield FaultWorld(Path(folder), zygote)
