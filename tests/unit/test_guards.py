"""The guards of tests/conftest.py, seen from outside: a run of pytest that breaks each of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

ALLOWED = {
    "own_home": "assert 'KTRDR_HOME' in os.environ",
    "not_the_real_one": "assert Path.home() != Path(os.environ['REAL'])",
    "no_engine": "assert os.environ['DOCKER_HOST'] == 'unix:///nowhere/docker.sock'",
    "writing_there": "Path.home().joinpath('.ktrdr').mkdir()",
    "a_process": "subprocess.run(['true'], check=True)",
}
REFUSED = {
    "variable_left": ("os.environ['LEFT'] = '1'", "left these variables changed: LEFT"),
    "variable_gone": ("del os.environ['PATH']", "left these variables changed: PATH"),
    "home_changed": (
        "os.environ['HOME'] = os.environ['REAL']",
        "left these variables changed: HOME",
    ),
    "real_home": ("Path(os.environ['REAL'], '.ktrdr').mkdir()", "the test used the real home:"),
    "process_in_it": (
        "subprocess.run(['true'], env={**os.environ, 'HOME': os.environ['REAL']}, check=True)",
        "with the real HOME",
    ),
}


def test_what_a_test_may_do_and_what_fails_by_itself(tmp_path: Path) -> None:
    bodies = ALLOWED | {name: body for name, (body, _) in REFUSED.items()}
    tests = [f"def test_{name}():\n    {body}\n" for name, body in bodies.items()]
    imports = "import os, subprocess\nfrom pathlib import Path\n\n"
    (tmp_path / "test_it.py").write_text(imports + "\n".join(tests), encoding="utf-8")

    told = failures(tmp_path)

    assert set(told) == set(REFUSED)
    for name, (_, expected) in REFUSED.items():
        assert expected in told[name]


def failures(folder: Path) -> dict[str, str]:
    """What pytest says of each test of the folder that failed, by its name."""
    home = folder / "real-home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "REAL": str(home)}
    for variable in ("KTRDR_HOME", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(variable, None)
    plugins = ("-p", "tests.conftest", "-p", "no:cacheprovider")
    argv = ["-m", "pytest", "-q", *plugins, f"--rootdir={folder}", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, *argv, str(folder / "test_it.py")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    parts = re.split(r"^_+ ERROR at teardown of test_(\w+) _+$", done.stdout, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
