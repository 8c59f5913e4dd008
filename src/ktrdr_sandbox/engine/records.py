"""What an engine tells and takes beyond its list of containers. The same for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ktrdr_sandbox.engine.interface import Container, ContainerState, Health


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDetail:
    """What `inspect` tells of one container that the list does not.

    `health_log` is the output of the last health probe, "" when there was none. `exit_code` is of
    the last run and meaningless while running. `health_test` is the effective command (image or
    Compose file), in Docker's form: ("CMD", ...) or ("CMD-SHELL", text); () without one.
    """

    id: str
    name: str
    service: str
    replica: int
    state: ContainerState
    health: Health
    exit_code: int
    oom_killed: bool
    restart_count: int
    error: str
    started_at: str
    finished_at: str
    health_test: tuple[str, ...] = ()
    health_log: str = ""
    published: tuple[tuple[str, int, int, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    """Names of the volumes mounted, anonymous ones included."""
    command: tuple[str, ...] = ()
    """Program and arguments, entrypoint included, whether file or image gives them."""
    working_dir: str = "/"
    memory_limit: int = 0
    """Bytes; 0 without a limit."""
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Networks by name, each with the names that it has there besides its own and its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Everything on an engine that carries one uuid label. Networks and volumes by name."""

    containers: tuple[Container, ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks or self.volumes)

    def names(self) -> tuple[str, ...]:
        """Names for people, each with its kind."""
        return (
            *(f"container {container.name}" for container in self.containers),
            *(f"network {name}" for name in self.networks),
            *(f"volume {name}" for name in self.volumes),
        )


BelongingKind = Literal["container", "network", "volume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """One thing on an engine and whose it says it is. All texts are "" where nothing is said.

    `home`, `slot`, `instance_id` and `uuid` are from our labels, `project` and `directory` from
    Compose's own; only containers tell the directory.
    """

    kind: BelongingKind
    name: str
    instance_id: str = ""
    uuid: str = ""
    home: str = ""
    slot: str = ""
    project: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions as the tools print them; `compose` without a leading v."""

    client: str
    engine: str
    api: str
    compose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """Outcome of a command run inside a container. `exit_code` is None when time ran out."""

    exit_code: int | None
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeCall:
    """All that decides what a Compose command acts on; made in one place for every command.

    `environment` is the child's whole environment, already built (see `environment.py`).
    `files` may be empty for commands that work from labels alone.
    """

    project: str
    directory: Path
    files: tuple[Path, ...]
    env_files: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
