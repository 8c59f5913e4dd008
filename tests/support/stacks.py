"""Real stacks for end-to-end tests: the program as a process, real repositories, a real engine."""

from __future__ import annotations

import functools
import json
import os
import pwd
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.commands.demo import make_repository
from tests.support import documents
from tests.support.http import get_json, post_json
from tests.support.labels import LABEL_UUID
from tests.support.processes import held_slot, run_to_end

PROGRAM: Final = (sys.executable, "-m", "ktrdr_sandbox")
PATIENCE: Final = 240.0
"""Seconds for one command: far more than any needs, less than a test has."""

_SETTINGS: Final = {
    "timescale/timescaledb:latest-pg16": ("DATABASE", "timescaledb-standin"),
    "python:3.12-slim": ("PYTHON", "python"),
    "prom/prometheus:latest": ("PROMETHEUS", "prometheus"),
    "grafana/grafana:latest": ("GRAFANA", "grafana-standin"),
    "jaegertracing/all-in-one:1.53": ("JAEGER", "jaeger-standin"),
}
"""Image names in the sample: the setting that replaces each, and what the lab calls its own."""

_AUTHOR: Final = ("-c", "user.name=test", "-c", "user.email=test@localhost")
_LIGHT: Final = Path(__file__).parents[1] / "e2e" / "files" / "light.yml"

# Taken when the module is read, before any test's own environment is put in place.
_IMAGES_SET: Final = {
    name: os.environ[f"KTRDR_SANDBOX_DEMO_{setting}_IMAGE"]
    for name, (setting, _) in _SETTINGS.items()
    if f"KTRDR_SANDBOX_DEMO_{setting}_IMAGE" in os.environ
}
_TINY_SET: Final = os.environ.get("KTRDR_LAB_TINY_IMAGE")


def token() -> str:
    """Part of a name that no other run on this engine has."""
    return secrets.token_hex(3)


MARK: Final = f"e2e{token()}"
"""In the name of every project of this run: what it leaves when it is killed is known by that."""


# -- processes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """One command that has ended. Its text shows all of it."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"{' '.join(self.argv)} -> {self.code} after {self.seconds:.1f} s"
            f"\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )

    def expect(self, code: int) -> Outcome:
        """Itself, having ended with that status. Never with a traceback."""
        assert self.code == code, str(self)
        assert "Traceback" not in self.stderr, str(self)
        return self

    @property
    def document(self) -> dict[str, Any]:
        """The JSON envelope, valid by the schema, and the only thing on stdout."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict), str(self)
        documents.check(found)
        return found

    @property
    def data(self) -> Any:
        return self.document["data"]

    @property
    def error(self) -> Any:
        return self.document["error"]


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout: float = PATIENCE,
) -> Outcome:
    """Run a command to its end."""
    began = time.monotonic()
    done = run_to_end(argv, cwd=cwd, environment=environment, timeout=timeout)
    return Outcome(tuple(argv), done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def base_environment() -> dict[str, str]:
    """This process's environment without what would steer the program, Compose or git."""
    ours = ("KTRDR_", "COMPOSE_", "GIT_", "XDG_", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    # Compose is found as a plugin there, whatever HOME a test has.
    environment.setdefault("DOCKER_CONFIG", str(account_home() / ".docker"))
    return environment | {"NO_COLOR": "1", "COLUMNS": "100", "GIT_CONFIG_GLOBAL": os.devnull}


def account_home() -> Path:
    """The home of the account, not that of HOME: caches and client settings are there."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def git(*arguments: str, cwd: Path) -> str:
    done = run(["git", *_AUTHOR, *arguments], cwd=cwd, environment=base_environment())
    return done.expect(0).stdout


def commit(cwd: Path, message: str) -> None:
    git("add", "--all", cwd=cwd)
    git("commit", "--quiet", "--message", message, cwd=cwd)


# -- the engine ----------------------------------------------------------------------------------


def try_docker(*arguments: str) -> Outcome:
    return run(["docker", *arguments], cwd=Path("/"), environment=base_environment())


def docker(*arguments: str) -> str:
    return try_docker(*arguments).expect(0).stdout.strip()


def containers(filter_: str) -> list[dict[str, Any]]:
    """What the engine knows of all containers that match, running or not."""
    ids = docker("ps", "--all", "--quiet", "--filter", filter_).split()
    if not ids:
        return []
    told = try_docker("inspect", *ids)
    if "No such object" not in told.stderr:  # one that went meanwhile is left out
        told.expect(0)
    found = json.loads(told.stdout)
    assert isinstance(found, list)
    return found


def docker_logs(container: str) -> list[str]:
    """Every line that a container printed, on either stream."""
    outcome = try_docker("logs", container).expect(0)
    return [*outcome.stdout.splitlines(), *outcome.stderr.splitlines()]


def images(repository: str) -> list[str]:
    """Tags of all images whose repository matches, `*` within a part being anything."""
    listed = docker(
        "image", "ls", "--filter", f"reference={repository}", "--format", "{{.Repository}}:{{.Tag}}"
    )
    return sorted(listed.split())


def image_id(reference: str) -> str | None:
    outcome = try_docker("image", "inspect", "--format", "{{.Id}}", reference)
    return outcome.stdout.strip() if outcome.code == 0 else None


def leftovers(filter_: str) -> list[str]:
    """Containers, networks and volumes that match, each with its kind."""
    found = []
    questions = {
        "container": ("ps", "--all", "--format", "{{.Names}}"),
        "network": ("network", "ls", "--format", "{{.Name}}"),
        "volume": ("volume", "ls", "--format", "{{.Name}}"),
    }
    for kind, question in questions.items():
        found += [f"{kind} {name}" for name in docker(*question, "--filter", filter_).split()]
    return found


def remove(found: Sequence[str]) -> None:
    """Remove what `leftovers` named, containers first."""
    for name in found:
        kind, _, which = name.partition(" ")
        force = ["--force"] if kind != "network" else []
        try_docker(kind, "rm", *force, which)


# -- sandboxes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stack:
    """One instance, as `create --json` told of it."""

    id: str
    name: str
    uuid: str
    slot: int
    path: Path
    ports: Mapping[str, int]
    skipped: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.ports['backend']}{path}"

    def get(self, path: str) -> Any:
        return get_json(self.url(path))

    def post(self, path: str, body: Any) -> Any:
        return post_json(self.url(path), body)

    @property
    def filter(self) -> str:
        return f"label={LABEL_UUID}={self.uuid}"

    def containers(self) -> list[dict[str, Any]]:
        return containers(self.filter)

    def services(self) -> dict[str, dict[str, Any]]:
        """The containers by service; none here has replicas."""
        label = "com.docker.compose.service"
        return {found["Config"]["Labels"][label]: found for found in self.containers()}

    def container(self, service: str) -> dict[str, Any]:
        return self.services()[service]

    def leftovers(self) -> list[str]:
        return leftovers(self.filter)

    def edit(self, path: str, old: str, new: str) -> None:
        """Change a file of this checkout."""
        file = self.path / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def misbehave(self, role: str, knob: str) -> None:
        """Set one knob of `config/sample.toml` for a role."""
        (self.path / "config" / "sample.toml").write_text(f"[{role}]\n{knob}\n", encoding="utf-8")


@dataclass
class Sandbox:
    """A home, a sample repository, and the program to run on them."""

    folder: Path
    program: Sequence[str] = PROGRAM
    repository: Path = field(init=False)
    home: Path = field(init=False)
    _uuids: dict[str, str] = field(default_factory=dict)
    _slots: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.repository = self.folder / "ktrdr"
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "KTRDR_HOME": str(self.home / ".ktrdr")}
        return base_environment() | own

    @property
    def state(self) -> Path:
        return self.home / ".ktrdr" / "sandbox"

    def make_repository(self, *, branches: Sequence[str] = (), light: bool = False) -> None:
        """The sample application; `light` leaves it a database, a backend and one worker."""
        self.repository.mkdir()
        make_repository(self.repository, images=sample_images(), branches=branches)
        if light:
            lighten(self.repository)

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run the program in the repository, to its end. `environment` comes on top."""
        outcome = run(
            [*self.program, *arguments],
            cwd=cwd or (self.repository if self.repository.is_dir() else self.folder),
            environment=self.environment | dict(environment or {}),
        )
        self._remember(outcome)
        return outcome

    def create(
        self, name: str, *options: str, cwd: Path | None = None, any_slot: bool = False
    ) -> Stack:
        """Create an instance, in a slot kept from other tests unless the program may choose."""
        if not any_slot:
            options = (*options, "--slot", str(self._slots.enter_context(held_slot())))
        data = self.run("create", name, *options, "--json", cwd=cwd).expect(0).data
        made = data["instance"]
        return Stack(
            id=made["id"],
            name=made["name"],
            uuid=made["uuid"],
            slot=made["slot"],
            path=Path(made["path"]),
            ports=data["ports"],
            skipped=data["skipped_slots"],
        )

    def up(self, stack: Stack, *options: str) -> Outcome:
        return self.run("up", stack.name, *options, "--json")

    def listed(self) -> dict[str, Any]:
        """What `list` says of each instance, by name."""
        rows = self.run("list", "--json").expect(0).data["instances"]
        return {row["name"]: row for row in rows}

    @contextmanager
    def started(self, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The program while it runs, in a process group of its own, its messages in a file.

        Ended at the end of the block, should it still run.
        """
        with (
            log.open("wb") as messages,
            subprocess.Popen(
                [*self.program, *arguments],
                cwd=self.repository,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Destroy what is left. Fails when the program itself leaves something of it."""
        with self._slots:
            self._finish()

    def _finish(self) -> None:
        refusals = [
            str(outcome)
            for name in self.listed()
            if (outcome := self.run("destroy", name, "--yes", "--force")).code
        ]
        left = [found for uuid in self._uuids for found in leftovers(f"label={LABEL_UUID}={uuid}")]
        tags = [tag for name in self._uuids.values() for tag in images(f"{name}/*")]
        remove(left)
        for tag in tags:
            try_docker("image", "rm", tag)
        assert not refusals, "\n".join(refusals)
        assert not left + tags, f"left behind: {', '.join(left + tags)}"

    def _remember(self, outcome: Outcome) -> None:
        """Keep the uuid of every instance that a document tells of."""
        if outcome.stdout.startswith("{"):
            for made in _instances(outcome.document["data"]):
                self._uuids[made["uuid"]] = made["id"]


def _instances(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "uuid" in value and "slot" in value:
            yield value
        for part in value.values():
            yield from _instances(part)
    elif isinstance(value, list):
        for part in value:
            yield from _instances(part)


@contextmanager
def sandbox(folder: Path, *, program: Sequence[str] = PROGRAM) -> Iterator[Sandbox]:
    """A sandbox of which nothing is left after the block."""
    made = Sandbox(folder, program)
    try:
        yield made
    finally:
        if made.state.is_dir():
            made.finish()


@functools.cache
def sample_images() -> Mapping[str, str]:
    """Image names in the sample to those to use: as set, else the lab's newest, else as named."""
    return {
        name: _IMAGES_SET.get(name) or _newest(lab) or name for name, (_, lab) in _SETTINGS.items()
    }


def demo_settings() -> dict[str, str]:
    """The same choice as environment variables, for `demo`."""
    return {
        f"KTRDR_SANDBOX_DEMO_{_SETTINGS[name][0]}_IMAGE": image
        for name, image in sample_images().items()
    }


def tiny_image() -> str:
    """An image with a shell and hardly more: as set, else the lab's newest, else busybox."""
    return _TINY_SET or _newest("tiny") or "busybox:latest"


def _newest(lab_name: str) -> str:
    tags = images(f"ktrdr-lab/{lab_name}")
    if not tags:
        return ""
    created = {tag: docker("image", "inspect", "--format", "{{.Created}}", tag) for tag in tags}
    return max(tags, key=lambda tag: created[tag])


def lighten(repository: Path) -> None:
    """Replace the sample's Compose file by that of three services."""
    text = _LIGHT.read_text(encoding="utf-8")
    for name, image in sample_images().items():
        text = text.replace(name, image)
    file = repository / "deploy" / "environments" / "local" / "docker-compose.yml"
    file.write_text(text, encoding="utf-8")
    commit(repository, "Three services will do")
