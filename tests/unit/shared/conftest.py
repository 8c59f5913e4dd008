"""What tests of the shared folder start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.trees import checkout
from tests.unit.shared.runs import Sharing


@pytest.fixture
def sharing(tmp_path: Path) -> Sharing:
    return Sharing(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkout with a little of everything."""
    return checkout(tmp_path / "ktrdr")
