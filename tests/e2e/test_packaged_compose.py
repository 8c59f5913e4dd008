"""The packaged Compose file on a real engine: by itself and over another checkout, at once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.engine,
    # Docker first asks after Jaeger 30 s after its start, and the backend waits for that.
    pytest.mark.timeout(300),
]

COMPOSE = Path(__file__).parents[2] / "compose"
PATIENCE_SECONDS = 120
DEFAULT_PORTS = {
    "db": ["127.0.0.1:5432:5432"],
    "backend": ["127.0.0.1:8000:8000"],
    "backtest-worker": ["127.0.0.1:5003-5004:5003"],
    "training-worker": ["127.0.0.1:5005-5006:5005"],
    "jaeger": ["127.0.0.1:16686:16686", "127.0.0.1:4317:4317", "127.0.0.1:4318:4318"],
    "prometheus": ["127.0.0.1:9090:9090"],
    "grafana": ["127.0.0.1:3000:3000"],
}
SINGLE_PORTS = (
    "KTRDR_API_PORT",
    "KTRDR_DB_PORT",
    "KTRDR_GRAFANA_PORT",
    "KTRDR_JAEGER_UI_PORT",
    "KTRDR_JAEGER_OTLP_PORT",
    "KTRDR_JAEGER_OTLP_HTTP_PORT",
    "KTRDR_PROMETHEUS_PORT",
)


@dataclass(frozen=True)
class Stack:
    """One way to start the file: a folder to stand in, options of `compose`, variables."""

    folder: Path
    options: tuple[str, ...]
    variables: dict[str, str]

    def compose(self, *command: str) -> str:
        argv = ["docker", "compose", *self.options, *command]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{argv} gave {done.returncode}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        self.compose("up", "--detach", "--quiet-pull")

    def environment(self) -> dict[str, str]:
        """What Docker needs of ours, and nothing that another stack may have left in a shell."""
        kept = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
        return {name: os.environ[name] for name in kept if name in os.environ} | self.variables

    def ask(self, path: str, *, post: object = None, port: str = "KTRDR_API_PORT") -> Any:
        address = f"http://127.0.0.1:{self.variables[port]}/api/v1/{path}"
        data = None if post is None else json.dumps(post).encode()
        with urllib.request.urlopen(address, data=data, timeout=10) as answer:
            return json.load(answer)

    def has_its_workers(self) -> bool:
        types = Counter(worker["worker_type"] for worker in self.ask("workers"))
        return types == {"backtesting": 2, "training": 2}

    def scrapes(self) -> list[str]:
        """How Prometheus finds the backend, after the configuration that is in the file."""
        targets = self.ask("targets", port="KTRDR_PROMETHEUS_PORT")["data"]["activeTargets"]
        return [target["health"] for target in targets]

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", "1")
        image = f"{self.variables['COMPOSE_PROJECT_NAME']}-backend:dev"
        subprocess.run(["docker", "image", "rm", image], check=False, capture_output=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A copy of the packaged folder, for the engine makes folders where it mounts."""
    skipped = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(COMPOSE, tmp_path / "compose", ignore=skipped)


@pytest.fixture
def checkout(here: Path) -> Path:
    """Another checkout, with code of its own."""
    checkout = shutil.copytree(here / "sample", here.parent / "checkout")
    (checkout / "research_agents").mkdir()
    greet(checkout, "hello from the checkout")
    return checkout


@pytest.fixture
def stacks(here: Path, checkout: Path) -> Iterator[tuple[Stack, Stack]]:
    """By itself, and over the other checkout; both running when the test begins."""
    free = free_ports()
    over = ("--file", str(here / "docker-compose.yml"), "--project-directory", str(checkout))
    pair = (
        Stack(here, (), variables("alone", free, here.parent)),
        Stack(here, over, variables("over", free, here.parent)),
    )
    with ExitStack() as cleaning:
        for stack in pair:
            cleaning.callback(stack.remove)
        with ThreadPoolExecutor() as both:
            list(both.map(Stack.up, pair))
        yield pair


def variables(name: str, free: Iterator[int], folder: Path) -> dict[str, str]:
    project = f"packaged-{name}-{os.getpid()}"
    images = {
        f"KTRDR_{short}_IMAGE": os.environ[f"KTRDR_SANDBOX_DEMO_{long}_IMAGE"]
        for short, long in (
            ("DB", "DATABASE"),
            ("PYTHON", "PYTHON"),
            ("PROMETHEUS", "PROMETHEUS"),
            ("GRAFANA", "GRAFANA"),
            ("JAEGER", "JAEGER"),
        )
        if f"KTRDR_SANDBOX_DEMO_{long}_IMAGE" in os.environ
    }
    return {
        "COMPOSE_PROJECT_NAME": project,
        "INSTANCE_ID": project,
        "KTRDR_SHARED_DIR": str(folder / "shared"),
        **{port: str(next(free)) for port in SINGLE_PORTS},
        "KTRDR_BACKTEST_WORKER_PORTS": pair_of_ports(free),
        "KTRDR_TRAINING_WORKER_PORTS": pair_of_ports(free),
        **images,
    }


def free_ports() -> Iterator[int]:
    for port in count(18000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                yield port


def pair_of_ports(free: Iterator[int]) -> str:
    """Two in a row, as a range."""
    first = next(free)
    for second in free:
        if second == first + 1:
            return f"{first}-{second}"
        first = second
    raise AssertionError("ports do not end")


def greet(checkout: Path, text: str) -> None:
    version = checkout / "ktrdr" / "version.py"
    version.write_text(f'VERSION = "1.0.7.2"\nGREETING = "{text}"\n')


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.2)


def published(model: dict[str, Any]) -> dict[str, list[str]]:
    return {
        name: [f"{x['host_ip']}:{x['published']}:{x['target']}" for x in service["ports"]]
        for name, service in model["services"].items()
    }


def test_defaults_are_those_of_the_stack_as_it_was(here: Path) -> None:
    model = json.loads(Stack(here, (), {}).compose("config", "--format", "json"))
    assert published(model) == DEFAULT_PORTS
    assert model["name"] == "ktrdr-sample"
    assert model["services"]["backend"]["build"]["context"] == str(here / "sample")


def test_copied_into_a_checkout_it_runs_that_checkout(here: Path, checkout: Path) -> None:
    shutil.copy(here / "docker-compose.yml", checkout)
    model = json.loads(Stack(checkout, (), {}).compose("config", "--format", "json"))
    assert published(model) == DEFAULT_PORTS
    assert model["name"] == "checkout"
    sources = {x["target"]: x["source"] for x in model["services"]["backend"]["volumes"]}
    assert sources["/app/ktrdr"] == str(checkout / "ktrdr")
    assert sources["/app/research_agents"] == str(checkout / "research_agents")


def test_two_run_at_once_and_share_nothing_of_their_own(
    stacks: tuple[Stack, Stack], checkout: Path
) -> None:
    alone, over = stacks
    for stack in stacks:
        eventually(stack.has_its_workers)
        assert stack.ask("info")["instance_id"] == stack.variables["INSTANCE_ID"]

    assert alone.ask("info")["greeting"] == "hello from main"
    assert over.ask("info")["greeting"] == "hello from the checkout"
    greet(checkout, "hello again")
    eventually(lambda: over.ask("info")["greeting"] == "hello again")
    assert alone.ask("info")["greeting"] == "hello from main"

    over.ask("notes", post={"text": "only here"})
    assert over.ask("notes") == [{"id": 1, "text": "only here"}]
    assert alone.ask("notes") == []

    eventually(lambda: alone.scrapes() == ["up"])
    alone.compose("restart", "prometheus", "grafana")
    eventually(lambda: alone.scrapes() == ["up"])
    provisioned = "/etc/grafana/provisioning/datasources/ktrdr.yml"
    assert "http://prometheus:9090" in alone.compose("exec", "-T", "grafana", "cat", provisioned)
