"""The program as a user's shell would run it, in a fork of a process that has it imported.

Nearly all of a short command's time is Python's start and imports; thousands of runs share one.
What a fork cannot show (other settings of Python itself) runs as a process of its own.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn

import ktrdr_sandbox
from tests.support.processes import run_to_end
from tests.support.zygote import Zygote, serve

_IMPORTED_LATE: Final = (
    "httpx",
    "psutil",
    "pydantic",
    "python_on_whales",
    "rich.live",
    "ruamel.yaml",
)
_OF_PYTHON: Final = ("PYTHON", "LC_", "LANG", "TZ", "COVERAGE")
"""Variables that Python reads at its start."""


def run_program(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, without stdin. Raises what `subprocess` raises for its start."""
    if _forks.lock.acquire(blocking=False):
        try:
            return _forks.run(arguments, cwd=cwd, environment=environment)
        finally:
            _forks.lock.release()
    return _process(arguments, cwd=cwd, environment=environment)


def _process(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "ktrdr_sandbox", *arguments]
    return run_to_end(argv, cwd=cwd, environment=environment)


class _Forks:
    """A zygote for the runs whose Python is as the first one's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._zygote: Zygote | None = None
        self._of_python: dict[str, str] = {}

    def close(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        wanted = {key: value for key, value in environment.items() if key.startswith(_OF_PYTHON)}
        if self._zygote is None:
            self._of_python = wanted
        if wanted != self._of_python or not cwd.is_dir():
            return _process(arguments, cwd=cwd, environment=environment)
        if self._zygote is None:
            self._zygote = Zygote("tests.support.program", environment=environment)
        with TemporaryDirectory(prefix="ktrdr-sandbox-run-") as folder:
            output, errors = Path(folder, "stdout"), Path(folder, "stderr")
            request = {
                "arguments": list(arguments),
                "cwd": str(cwd),
                "environment": dict(environment),
                "stdout": str(output),
                "stderr": str(errors),
            }
            try:
                (status,) = self._zygote.run(request)
            except BaseException:
                self._zygote = None
                raise
            return subprocess.CompletedProcess(
                arguments,
                status,
                output.read_text(encoding="utf-8"),
                errors.read_text(encoding="utf-8"),
            )


_forks = _Forks()


def end_program() -> None:
    """End what runs are forked from; the next run starts another."""
    _forks.close()


def _act(request: dict[str, Any]) -> NoReturn:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _open_instead(0, os.devnull, os.O_RDONLY)
    _open_instead(1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _open_instead(2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  the old one is the server's
    sys.argv = [str(Path(ktrdr_sandbox.__file__).with_name("__main__.py")), *request["arguments"]]
    from ktrdr_sandbox.__main__ import main

    main()


def _open_instead(number: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)


def import_all() -> None:
    """Import the whole program, and what it imports late."""
    for module in pkgutil.walk_packages(ktrdr_sandbox.__path__, "ktrdr_sandbox."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _IMPORTED_LATE:
        importlib.import_module(name)


if __name__ == "__main__":
    import_all()
    serve(_act)
