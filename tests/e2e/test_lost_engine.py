"""The engine stopped, killed and restarted under the program. That engine is a private one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.lost_engine import SCENARIOS
from tests.support.private_engine import apart, can_be_had
from tests.support.stacks import docker, images

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: the engine's sockets in it may have about a hundred characters."""
    made = Path(tempfile.mkdtemp(prefix="ktrdr-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(not can_be_had(), reason="another engine needs root, unshare and dockerd")
@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_there_is_a_way_back(name: str, folder: Path) -> None:
    image = sorted(images("ktrdr-lab/tiny"))[0]
    archive = folder / "tiny.tar"
    docker("save", "--output", str(archive), image)
    done = apart("tests.e2e.lost_engine", name, str(folder), image, str(archive))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("end\n"), done.stdout + done.stderr
