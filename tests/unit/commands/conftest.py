"""A repository, a home and a fake engine for every test of the lifecycle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.commands.scenes import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)
