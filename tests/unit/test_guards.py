"""The guards of tests/conftest.py, seen from outside: a run of pytest that breaks each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def errors_of(folder: Path, body: str) -> str:
    """The output of a pytest run over one test with this body; "" when it passed."""
    lines = [f"    {line}" for line in body.splitlines()]
    text = "\n".join(
        ["import os, subprocess, sys", "from pathlib import Path", "", "def test_it():"]
    )
    (folder / "test_it.py").write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")
    home = folder / "real-home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "REAL": str(home)}
    for variable in ("KTRDR_HOME", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(variable, None)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            f"--rootdir={folder}",
            "-c",
            os.devnull,
            str(folder / "test_it.py"),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "assert 'KTRDR_HOME' in os.environ",
        "assert Path.home() != Path(os.environ['REAL'])",
        "assert os.environ['DOCKER_HOST'] == 'unix:///nowhere/docker.sock'",
        "Path.home().joinpath('.ktrdr').mkdir()",
        "subprocess.run(['true'], check=True)",
    ],
)
def test_what_a_test_may_do(tmp_path: Path, body: str) -> None:
    assert errors_of(tmp_path, body) == ""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("os.environ['LEFT'] = '1'", "the test left these variables changed: LEFT"),
        ("del os.environ['PATH']", "the test left these variables changed: PATH"),
        ("os.environ['HOME'] = os.environ['REAL']", "the test left these variables changed: HOME"),
        (
            "Path(os.environ['REAL'], '.ktrdr').mkdir()",
            "the test used the real home:",
        ),
        (
            (
                "env = {**os.environ, 'HOME': os.environ['REAL']}\n"
                "subprocess.run(['true'], env=env, check=True)"
            ),
            "with the real HOME",
        ),
    ],
)
def test_what_fails_by_itself(tmp_path: Path, body: str, told: str) -> None:
    assert told in errors_of(tmp_path, body)
