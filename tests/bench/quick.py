"""The quick commands, where the interpreter's start is most of the time, and nothing is started."""

from __future__ import annotations

import http.server
import itertools
import shutil
import sys
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.commands.demo import make_repository
from ktrdr_sandbox.docker.environment import current_address
from ktrdr_sandbox.models import LAST_SLOT, Instance
from ktrdr_sandbox.state.registry import Registry, RegistryStore
from tests.bench.harness import Pair, alternate, compiled, program, run
from tests.support.repositories import git
from tests.support.stacks import sample_images

INSTANCES: Final = 10
_TYPER: Final = (sys.executable, "-c", "import typer")


@dataclass(frozen=True)
class Place:
    """A repository, a home, and an environment that programs start quickly in."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def repository(self) -> Path:
        return self.folder / "ktrdr"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *argv: str, **variables: str) -> None:
        run(argv, cwd=self.repository, environment={**self.environment, **variables})

    def tool(self, *arguments: str, **variables: str) -> None:
        self.run(*program(), *arguments, **variables)

    def register(self, count: int) -> list[Instance]:
        """Put so many instances into the registry; each has a directory and nothing else."""
        made = [self._instance(number) for number in range(count)]
        sandbox = self.home / "sandbox"
        store = RegistryStore(sandbox / "instances.json", sandbox / "instances.lock")
        store.update(lambda _: (Registry({one.id: one for one in made}), None))
        return made

    def _instance(self, number: int) -> Instance:
        identity = f"ktrdr--many-{number:03}"
        path = self.folder / identity
        path.mkdir(exist_ok=True)
        return Instance(
            id=identity,
            uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
            slot=number % LAST_SLOT + 1,
            path=path,
            created_at="2026-01-01T00:00:00Z",
            is_worktree=True,
            parent_repo=self.repository,
            state="created",
            created_by="create",
            engine=current_address(self.environment),
        )


@contextmanager
def place() -> Iterator[Place]:
    """Made in a scratch folder, away with the block."""
    folder = Path(tempfile.mkdtemp(prefix="ktrdr-bench-"))
    plain = compiled(folder / "bytecode")
    for name in [name for name in plain if name.startswith("KTRDR_")]:  # nothing is set
        del plain[name]
    environment = {**plain, "KTRDR_HOME": str(folder / "home")}
    try:
        made = Place(folder, environment)
        made.repository.mkdir()
        make_repository(made.repository, images=sample_images(), branches=())
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def version(at: Place, runs: int) -> Pair:
    return _compare(at, runs, lambda: at.tool("--version"), lambda: at.run(*_TYPER))


def completion(at: Place, runs: int) -> Pair:
    """The name of an instance, as zsh asks."""
    at.register(INSTANCES)
    words = ("ktrdr-sandbox", "up", "many-00")
    return _compare(
        at,
        runs,
        lambda: at.tool(*words, _KTRDR_SANDBOX_COMPLETE="zsh"),
        lambda: at.run(*_TYPER),
    )


def list_instances(at: Place, runs: int) -> Pair:
    at.register(INSTANCES)
    return _compare(at, runs, lambda: at.tool("list"), lambda: _ask(at))


def status(at: Place, runs: int) -> Pair:
    name = at.register(INSTANCES)[0].name
    with _server() as address:

        def raw() -> None:
            _ask(at)
            with urllib.request.urlopen(address) as answer:  # noqa: S310  our own server
                answer.read()

        return _compare(at, runs, lambda: at.tool("status", name), raw)


def create(at: Place, runs: int) -> Pair:
    """Each in turn makes a worktree of the same repository; both are taken away again."""
    at.register(0)
    tree = at.folder / "raw"
    numbers = itertools.count()
    made: list[str] = []

    def ours() -> None:
        made.append(f"made-{next(numbers)}")
        at.tool("create", made[-1])

    def raw() -> None:
        at.run("git", "worktree", "add", "-b", f"raw-{next(numbers)}", str(tree))
        at.run(sys.executable, "-c", "")

    def after() -> None:
        git(at.repository, "worktree", "remove", "--force", str(tree))
        at.tool("destroy", "--yes", made.pop())

    return alternate(runs, ours=ours, raw=raw, after=after)


def _ask(at: Place) -> None:
    at.run(*_TYPER)
    at.run("docker", "ps", "-a")


def _compare(at: Place, runs: int, ours: Callable[[], object], raw: Callable[[], object]) -> Pair:
    return alternate(runs, ours=ours, raw=raw, after=lambda: None)


@contextmanager
def _server() -> Iterator[str]:
    """Answers one round of HTTP."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        pass
