"""One instance's services and host ports, as its resolved Compose model has them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ktrdr_sandbox.models import Protocol, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """One host port that a stack publishes, after isolation.

    `target` is the container's port, `published` the host's. `variable` is the name under which
    `.env.sandbox` gives it (`KTRDR_API_PORT`, `KTRDR_WORKER_PORT_1`, `KTRDR_PORT_WEB_8080`).
    `role` is None for ports in the slot's extra block. A replicated service has one entry
    a replica.
    """

    service: str
    target: int
    protocol: Protocol
    host_ip: str
    published: int
    role: Role | None
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackService:
    """What start-up, gate and status need to know of one service of the resolved model.

    `replicas` is 0 for a service that is scaled to nothing, or that a provider stands for.
    `active` is False when no enabled profile includes it. `depends_on` maps a service to its
    Compose condition (`service_started`, `service_healthy`, `service_completed_successfully`);
    `optional_dependencies` are the ones declared `required: false`. `worker_type` is `backtesting`,
    `training`, or None when nothing about a worker tells either.
    """

    name: str
    replicas: int
    active: bool
    roles: frozenset[Role]
    image: str | None
    builds: bool
    depends_on: dict[str, str]
    optional_dependencies: frozenset[str] = frozenset()
    has_healthcheck: bool = False
    restart: str = "no"
    worker_type: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The services and host ports of one instance, derived from its resolved Compose model."""

    services: tuple[StackService, ...]
    ports: tuple[PublishedPort, ...]

    def service(self, name: str) -> StackService:
        """The service of that name. Raises KeyError."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    @property
    def active(self) -> tuple[StackService, ...]:
        return tuple(service for service in self.services if service.active)

    @property
    def startable(self) -> tuple[StackService, ...]:
        """The active services that have a container to start."""
        return tuple(service for service in self.active if service.replicas)

    @property
    def has_ktrdr_workers(self) -> bool:
        """Whether some worker is of a type that KTRDR has, no matter whether it is to start.

        Elsewhere a service that is called a worker is Celery's, say, and registers nowhere.
        """
        return any(service.worker_type is not None for service in self.services)

    def with_role(self, role: Role) -> tuple[StackService, ...]:
        """The active services that play a role, in model order."""
        return tuple(service for service in self.active if role in service.roles)

    def port(self, role: Role) -> PublishedPort | None:
        """The first host port of an active service's role, or None when it is not published."""
        names = {service.name for service in self.active}
        for port in self.ports:
            if port.role == role and port.service in names:
                return port
        return None
