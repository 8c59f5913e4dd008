"""A Docker engine that may be killed: in namespaces of its own, so that nobody else can notice.

Network, mounts and processes are its own; its packet filter rules, bridges and published ports are
in that network alone, and all of it ends with the process that made the namespaces.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.stacks import base_environment, docker, try_docker

PLACES: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
START_LIMIT: Final = 90.0
_AUTHOR: Final = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Developer"), ("EMAIL", "developer@localhost"))
}


def can_be_had() -> bool:
    return os.geteuid() == 0 and None not in (shutil.which("unshare"), _dockerd())


def _dockerd() -> str | None:
    return shutil.which("dockerd", path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))


def apart(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module in namespaces where a `PrivateEngine` can be; ended with all it started."""
    spaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    # The first process there must take in orphans, or a dead containerd is taken for a live one.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    return subprocess.run(
        ["unshare", *spaces, *shell, sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parents[2],
        env=base_environment() | _AUTHOR | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


class PrivateEngine:
    """Only within `apart`. From its start on DOCKER_HOST is its."""

    def __init__(self, folder: Path, *, images: Sequence[Path]) -> None:
        self._folder = folder
        self._images = images
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def start(self) -> None:
        """Start it, and wait until it answers.

        One that was killed while it removed a network may have kept half of it, over which Engine
        20.10 fails in every start (`reservePools`, index out of range) until its networks are
        taken from it. Whoever uses such an engine does the same.
        """
        log = self._folder / "log"
        process = self._launch()
        deadline = time.monotonic() + START_LIMIT
        while try_docker("version").code:
            said = log.read_text(errors="replace")[-3000:]
            if process.poll() is not None:
                networks = self._folder / "data" / "network" / "files" / "local-kv.db"
                assert "reservePools" in said, said
                assert networks.exists(), said
                networks.unlink()
                process = self._launch()
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        for archive in self._images:
            docker("load", "--quiet", "--input", str(archive))

    def _launch(self) -> subprocess.Popen[bytes]:
        folder = self._folder
        program = _dockerd()
        assert program is not None
        path = os.pathsep.join((os.environ["PATH"], *PLACES))
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--host=unix://{folder}/docker.sock",
                    f"--data-root={folder}/data",
                    f"--exec-root={folder}/exec",
                    f"--pidfile={folder}/docker.pid",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path},
                start_new_session=True,
            )
        os.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        return self._process

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()
        # What a killed one leaves for its successor to find.
        (self._folder / "docker.pid").unlink(missing_ok=True)
