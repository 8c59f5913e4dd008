"""The facts the rooms of this package pass to one another. No behaviour that reaches outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from ktrdr_sandbox.paths import ENV_FILE_NAME as ENV_FILE_NAME

FIRST_SLOT: Final = 1
LAST_SLOT: Final = 10
ID_PREFIX: Final = "ktrdr--"

LABEL_ID: Final = "ktrdr.sandbox.instance"  # for people and for `docker ps --filter`
LABEL_SLOT: Final = "ktrdr.sandbox.slot"
LABEL_UUID: Final = "ktrdr.sandbox.uuid"
"""The only proof of ownership: nothing without it is removed."""
LABEL_HOME: Final = "ktrdr.sandbox.home"
"""Label with the id of the KTRDR_HOME that the instance is registered in. What carries it and
belongs to no instance of that home is an orphan; what carries another is somebody else's."""

HOST_VARIABLES: Final[Mapping[str, str]] = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "KTRDR_JAEGER_OTLP_PORT",
    "OTLP_ENDPOINT": "KTRDR_JAEGER_OTLP_PORT",
    "JAEGER_URL": "KTRDR_JAEGER_UI_PORT",
    "GRAFANA_URL": "KTRDR_GRAFANA_PORT",
    "PROMETHEUS_URL": "KTRDR_PROMETHEUS_PORT",
}
"""Variables by which programs on this machine find an instance's tools, and the keys of its
`.env.sandbox` with their ports. What is in containers has its own addresses for these."""

Role = Literal["backend", "db", "grafana", "jaeger_ui", "jaeger_otlp", "prometheus", "worker"]
"""What a published port is for. The seven names of the port map, with `worker` for worker_base."""

Protocol = Literal["tcp", "udp", "sctp"]  # a port of one is free for the others
InstanceState = Literal["creating", "created", "removing"]
CreatedBy = Literal["create", "init"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Which Docker engine an instance lives on, fixed when the instance is created.

    A named context is kept by name. The `default` context means whatever DOCKER_HOST says at the
    moment, so for it the endpoint itself is kept, and `context` is None.
    """

    context: str | None = None
    host: str | None = None
    tls_verify: bool = False
    cert_path: str | None = None

    @property
    def label(self) -> str:
        """Short text for people: the context's name, or the endpoint."""
        return self.context or self.host or "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One sandbox instance, as the registry records it.

    `path` is the root of its worktree or clone; `inode` is that directory's number, None where it
    is not known: a move within a file system keeps it, a copy has another. `extra` keeps fields
    that a newer program of the same registry version wrote, so that saving does not lose them.
    """

    id: str
    uuid: str
    slot: int
    path: Path
    created_at: str
    is_worktree: bool
    parent_repo: Path | None
    state: InstanceState
    created_by: CreatedBy
    engine: EngineAddress = EngineAddress()
    inode: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The id without its prefix, as the user typed it on create."""
        return self.id.removeprefix(ID_PREFIX)

    @property
    def env_file(self) -> Path:
        return self.path / ENV_FILE_NAME

    def with_state(self, state: InstanceState) -> Instance:
        return replace(self, state=state)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """One host port that a stack publishes, after isolation.

    `variable` is the name under which `.env.sandbox` gives it (`KTRDR_API_PORT`,
    `KTRDR_WORKER_PORT_1`, `KTRDR_PORT_WEB_8080`). A replicated service has one entry a replica.
    """

    service: str
    target: int  # the container's port
    protocol: Protocol
    host_ip: str
    published: int  # the host's port
    role: Role | None  # None in the slot's extra block
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackService:
    """What start-up, gate and status need to know of one service of the resolved model.

    `depends_on` maps a service to its Compose condition (`service_started`, `service_healthy`,
    `service_completed_successfully`).
    """

    name: str
    replicas: int  # 0 for a service that is scaled to nothing, or that a provider stands for
    active: bool  # False when no enabled profile includes it
    roles: frozenset[Role]
    image: str | None
    builds: bool
    depends_on: dict[str, str]
    optional_dependencies: frozenset[str] = frozenset()  # declared `required: false`
    has_healthcheck: bool = False
    restart: str = "no"
    worker_type: str | None = None  # `backtesting`, `training`, or neither is told
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The services and host ports of one instance, derived from its resolved Compose model."""

    services: tuple[StackService, ...]
    ports: tuple[PublishedPort, ...]

    def service(self, name: str) -> StackService:
        """The service of that name. Raises KeyError."""
        return {service.name: service for service in self.services}[name]

    @property
    def active(self) -> tuple[StackService, ...]:
        return tuple(service for service in self.services if service.active)

    @property
    def startable(self) -> tuple[StackService, ...]:
        """The active services that have a container to start."""
        return tuple(service for service in self.active if service.replicas)

    @property
    def has_ktrdr_workers(self) -> bool:
        """Whether some worker is of a type that KTRDR has, no matter whether it is to start:
        elsewhere a service that is called a worker is Celery's, say, and registers nowhere."""
        return any(service.worker_type is not None for service in self.services)

    def with_role(self, role: Role) -> tuple[StackService, ...]:
        """The active services that play a role, in model order."""
        return tuple(service for service in self.active if role in service.roles)

    def port(self, role: Role) -> PublishedPort | None:
        """The first host port of an active service's role, or None when it is not published."""
        names = {service.name for service in self.active}
        return next((one for one in self.ports if one.role == role and one.service in names), None)
