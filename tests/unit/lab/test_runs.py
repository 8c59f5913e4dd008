"""What a killed test run left goes by its own mark or folder; nothing else does."""

import os

import pytest

from tests.lab import runs
from tests.lab.processes import Process, find
from tests.support.processes import python_process

FOLDER = "/tmp/pytest-of-somebody/pytest-3/popen-gw1"
NONE: frozenset[str] = frozenset()


@pytest.fixture
def run() -> runs.Run:
    process = find(os.getpid())
    assert process is not None
    return runs.Run.of(process, mark="e2eabc123", folder=FOLDER)


def test_one_whose_process_runs_is_not_over(run: runs.Run) -> None:
    assert not run.is_over()


def test_one_whose_process_has_ended_is_over() -> None:
    with python_process("input()") as child:
        process = find(child.pid)
    assert process is not None
    assert runs.Run.of(process, mark="e2eabc123", folder=FOLDER).is_over()


def test_of_one_on_another_host_nobody_knows(run: runs.Run) -> None:
    gone = Process(pid=1, started=0, boot="another")
    assert runs.Run.of(gone, mark=run.mark, folder=FOLDER).is_over()
    assert not runs.Run(mark=run.mark, folder=FOLDER, host="elsewhere", process=gone).is_over()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("ktrdr--e2eabc123-one-db-1", {}),
        ("ktrdr--e2eabc123-one_default", {}),
        ("e2eabc123-main_postgres_data", {}),
        ("ktrdr-backend", {runs.PROJECT: "e2eabc123-main"}),
        ("anything", {runs.DIRECTORY: f"{FOLDER}/place/ktrdr"}),
        ("anything", {runs.PROJECT: "demo"}),
    ],
)
def test_what_is_its_own(run: runs.Run, name: str, labels: dict[str, str]) -> None:
    assert run.owns(name, labels, frozenset({"demo"}))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("ktrdr-backend", {}),
        ("ktrdr-backend", {runs.PROJECT: "ktrdr", runs.DIRECTORY: "/home/somebody/ktrdr"}),
        ("ktrdr--e2eabc1234-one-db-1", {}),
        ("ktrdr--xe2eabc123-db-1", {}),
        ("anything", {runs.DIRECTORY: FOLDER + "2/place/ktrdr"}),
        ("anything", {runs.PROJECT: "demo"}),
    ],
)
def test_what_is_not(run: runs.Run, name: str, labels: dict[str, str]) -> None:
    assert not run.owns(name, labels, NONE)
