"""Runs the sample's backend and workers as processes of the host, and no database."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[3] / "compose" / "sample"
PATIENCE_SECONDS = 20


@dataclass
class RunningSample:
    """A copy of the sample's code and settings in a folder of its own, and what runs from it."""

    root: Path
    backend_port: int = 0
    worker_port: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("ktrdr", "config"):
            shutil.copytree(SAMPLE / name, self.root / name)
        (self.root / "logs").mkdir()
        self.backend_port, self.worker_port = free_port(), free_port()

    def start_backend(self) -> subprocess.Popen[bytes]:
        return self.start("ktrdr.api", KTRDR_LISTEN_PORT=str(self.backend_port))

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start(
            "ktrdr.worker",
            WORKER_TYPE="training",
            WORKER_PORT=str(self.worker_port),
            WORKER_PUBLIC_BASE_URL=f"http://localhost:{self.worker_port}",
            KTRDR_API_URL=f"http://localhost:{self.backend_port}",
        )

    def start(self, module: str, **environment: str) -> subprocess.Popen[bytes]:
        environment |= {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "KTRDR_CONFIG_DIR": str(self.root / "config"),
            "KTRDR_LOG_DIR": str(self.root / "logs"),
            "DB_HOST": "127.0.0.1",
            "DB_PORT": "1",  # nobody listens there
        }
        with (self.root / f"{module}.out").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=self.root,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def misbehave(self, section: str, **settings: object) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        text = "\n".join([f"[{section}]", *lines, ""])
        # In one step: a server that reads half a file would fail for another reason.
        unfinished = self.root / "config" / "unfinished"
        unfinished.write_text(text)
        unfinished.replace(self.root / "config" / "sample.toml")

    def ask(self, path: str, *, of_worker: bool = False, timeout: float = 5) -> tuple[int, Any]:
        """The status and the decoded answer; raises OSError, TimeoutError among them."""
        port = self.worker_port if of_worker else self.backend_port
        try:
            with urllib.request.urlopen(
                f"http://localhost:{port}/{path}", timeout=timeout
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def workers(self) -> list[dict[str, Any]]:
        listing: list[dict[str, Any]] = self.ask("api/v1/workers")[1]
        return listing

    def output(self, module: str) -> str:
        return (self.root / f"{module}.out").read_text()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def eventually(condition: Callable[[], object]) -> None:
    """Waits for it to be true; a refused connection counts as not yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)
