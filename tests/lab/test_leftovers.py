"""What a killed test run left on a real engine goes with the next `ensure`; no more than that."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import runs
from tests.lab.processes import find
from tests.support.processes import python_process
from tests.support.stacks import docker, leftovers, tiny_image, token, try_docker

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[runs.Run]:
    """A run whose process has ended, with a note on the engine."""
    with python_process("input()") as child:
        process = find(child.pid)
        assert process is not None
    found = runs.Run.of(process, mark=f"e2e{token()}", folder=str(tmp_path))
    runs.keep_note(found, os.environ)
    yield found
    try_docker("volume", "rm", found.note)


def container(name: str, *options: str) -> str:
    return docker("create", f"--name={name}", *options, tiny_image(), "sleep", "600")


def test_what_is_marked_or_made_in_its_folder_goes(dead: runs.Run) -> None:
    fixed, stranger = f"fixed-{token()}", f"stranger-{token()}"
    project = (f"--label={runs.PROJECT}={fixed}", f"--label={runs.DIRECTORY}={dead.folder}/ktrdr")
    container(f"ktrdr--{dead.mark}-one-db-1")
    container(fixed, *project)
    docker("network", "create", f"--label={runs.PROJECT}={fixed}", f"{fixed}_default")
    docker("volume", "create", f"{dead.mark}-main_data")
    container(stranger, f"--label={runs.PROJECT}={stranger}", f"--label={runs.DIRECTORY}=/other")
    try:
        runs.clear(os.environ, all_are_over=False)
        assert leftovers(f"name={dead.mark}") == []
        assert leftovers(f"name={fixed}") == []
        assert leftovers(f"name={stranger}") == [f"container {stranger}"]
        assert dead not in runs.noted(os.environ)
    finally:
        docker("rm", "--force", stranger)


def test_this_run_is_noted_and_stays(dead: runs.Run) -> None:
    mine = [one for one in runs.noted(os.environ) if one.process == find(os.getpid())]
    assert len(mine) == 1
    assert not mine[0].is_over()
    assert dead.is_over()
