"""What this program asks of a Docker engine, and the records that it gets. One for every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.process import LineSink as LineSink

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
STOPPED: Final[frozenset[ContainerState]] = frozenset({"created", "exited"})
"""States of a container that may be started as it is."""

Health = Literal["none", "starting", "healthy", "unhealthy"]
BelongingKind = Literal["container", "network", "volume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One line of the engine's container list. `service` is "" for containers not of Compose."""

    id: str
    name: str
    state: ContainerState
    status: str
    image: str
    project: str
    service: str
    oneoff: bool
    instance_id: str
    uuid: str
    published: tuple[tuple[str, int, int, str], ...] = ()
    """(host address, host port, container port, protocol) for each port published now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDetail:
    """What `inspect` tells of one container that the list does not. Times in seconds."""

    id: str
    name: str
    service: str
    replica: int
    state: ContainerState
    health: Health
    exit_code: int  # of the last run; meaningless while running
    oom_killed: bool
    restart_count: int
    error: str
    started_at: str
    finished_at: str
    health_test: tuple[str, ...] = ()  # ("CMD", ...) or ("CMD-SHELL", text), or () without one
    health_log: str = ""  # output of the last health probe
    health_exits: tuple[int, ...] = ()  # of the engine's latest health probes, the last one last
    health_shell: tuple[str, ...] = ("/bin/sh", "-c")  # runs a `CMD-SHELL`: the image's SHELL
    health_timeout: float = 30.0
    start_period: float = 0.0  # in which failing health probes do not count
    published: tuple[tuple[str, int, int, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()  # names, anonymous ones included
    command: tuple[str, ...] = ()  # entrypoint included
    working_dir: str = "/"
    memory_limit: int = 0  # bytes; 0 without a limit
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By name, each with the container's names there besides its own and its id."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """One thing on an engine and whose its labels say it is, "" where they say nothing.

    The last two are from Compose's labels; only containers tell the directory.
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


class Engine(Protocol):
    """One Docker engine. `grace`: seconds before a kill; None for each container's own.

    What is gone already is no failure to whoever removes, stops or changes it.
    """

    address: EngineAddress

    def versions(self) -> Versions:
        """Ask all tools for their versions; proves that the engine answers."""

    def containers(
        self, *, uuid: str | None = None, ids: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        """Containers in any state, in one call: all, those with our uuid label, or by id."""

    def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
        """Details of containers in one call; ids that are gone are left out."""

    def describe(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """All that the engine knows of containers, in its own form. For people, not programs."""

    def cut_off(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Those that hold to a network which is gone, though one of its name be made anew."""

    def resources(self, uuid: str) -> Resources: ...
    def belongings(self) -> tuple[Belonging, ...]: ...
    def stop(self, ids: Sequence[str], *, grace: int | None) -> None: ...
    def restart(self, ids: Sequence[str], *, grace: int | None) -> None: ...
    def remove(self, resources: Resources, *, grace: int | None) -> None:
        """Stop and remove exactly these. What the engine refuses to remove is left."""

    def join_unnamed(self, container_id: str, network: str, *, links: Sequence[str]) -> None:
        """Let a container that does not run join a network under its own name alone.

        `links` are `container:alias`.
        """

    def logs(self, container_id: str, *, tail: int) -> tuple[str, ...]:
        """The last lines a container printed, stdout and stderr together; () when it is gone."""

    def stamped_logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: str | None
    ) -> Iterator[tuple[str, str]]:
        """Each line as it is read, with its time (RFC 3339, UTC, all of one length).

        `follow` goes on until the container stops. `since` is a time or a duration ("10m") in
        Docker's notation; `usage` for one that is neither. Nothing for a container that is gone.
        """

    def execute(self, container_id: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command in a running container. `timeout` in seconds."""

    def execute_here(self, container_id: str, argv: Sequence[str], *, terminal: bool) -> int:
        """Run a command in a container with this program's streams, or terminal; its status."""

    def run_once(
        self, image: str, argv: Sequence[str], *, binds: Mapping[Path, str], uuid: str
    ) -> int:
        """Run a command as root in a throw-away container; its exit status, 125 without image.

        Nothing is pulled; no network. `binds` maps host paths to container paths.
        """

    def tag(self, source: str, target: str) -> None: ...
    def untag(self, reference: str) -> None:
        """Take a name from an image; the image goes with its last name."""

    def images(self) -> frozenset[str]:
        """References (`repository:tag`) of the images the engine has, dangling ones left out."""

    def networks(self) -> Mapping[str, tuple[str, ...]]:
        """Networks by name, each with its subnets."""

    def unused_networks(self) -> tuple[str, ...]:
        """Names of networks that no container is attached to, the engine's own left out."""

    def compose_config(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        """The resolved model of the call's profiles. `compose-file-invalid` when refused.

        Without `resolve_paths`, paths stay as the file spells them.
        """

    def compose_create(
        self,
        call: ComposeCall,
        *,
        build: Sequence[str],
        progress: LineSink,
        recreate: Sequence[str] = (),
    ) -> None:
        """Build these services' images, then create networks, volumes and containers.

        What else is missing is pulled. Changed containers are recreated, and those of the services
        to `recreate`; their anonymous volumes stay. Orphans are removed, nothing is started.
        Raises `compose-failed`, `image-missing`, `port-conflict`, `network-pool-exhausted`.
        """

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        """Start created services without regard to their dependencies. Raises as `create`."""

    def compose_stop(
        self,
        call: ComposeCall,
        *,
        grace: int | None,
        progress: LineSink,
        services: Sequence[str] = (),
    ) -> None:
        """Stop services as Compose does, keeping their containers: all of them without `services`.

        Dependents go first; `pre_stop` hooks (where the call has files) and `stop_signal` are kept.
        One-off containers are left alone. Raises as `create`.
        """

    def compose_run(
        self, call: ComposeCall, service: str, argv: Sequence[str], *, name: str
    ) -> str:
        """Start one more container of a service, for a command of its own; returns its id.

        `argv` replaces entrypoint and command. The container publishes nothing, waits for nothing,
        is never restarted, and stays when the command has ended. Raises as `create`.
        """

    def end_commands(self, *, at_once: bool = False) -> None:
        """End what other threads still have under way, so that nothing acts on this after us.

        Blocks for half a second at most; `at_once`, for questions, kills and does not block.
        """
