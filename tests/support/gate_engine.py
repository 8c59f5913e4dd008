"""The fake engine with the containers of one stack, which a test changes as the gate looks on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ktrdr_sandbox.docker.engine import (
    Container,
    ContainerDetail,
    ContainerState,
    ExecResult,
)
from ktrdr_sandbox.models import EngineAddress, Instance, PublishedPort, Role, Stack, StackService
from tests.support.fake_engine import FakeEngine

UUID = "6f1c0f3e-0000-4000-8000-000000000001"

INSTANCE = Instance(
    id="ktrdr--feat-x",
    uuid=UUID,
    slot=2,
    path=Path("/work/ktrdr--feat-x"),
    created_at="2026-01-01T00:00:00Z",
    is_worktree=True,
    parent_repo=None,
    state="created",
    created_by="create",
)

Executor = Callable[[ContainerDetail, Sequence[str]], ExecResult]


def service(
    name: str,
    *roles: Role,
    replicas: int = 1,
    image: str | None = None,
    worker_type: str | None = None,
    restart: str = "unless-stopped",
    depends_on: dict[str, str] | None = None,
    active: bool = True,
) -> StackService:
    return StackService(
        name=name,
        replicas=replicas,
        active=active,
        roles=frozenset(roles),
        image=image,
        builds=False,
        depends_on=depends_on or {},
        restart=restart,
        worker_type=worker_type,
    )


def published(
    name: str, target: int, host: int, role: Role | None, *, host_ip: str = "127.0.0.1"
) -> PublishedPort:
    return PublishedPort(
        service=name,
        target=target,
        protocol="tcp",
        host_ip=host_ip,
        published=host,
        role=role,
        variable="",
    )


def ready(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
    """Every command succeeds."""
    return ExecResult(exit_code=0, output="")


class GateEngine(FakeEngine):
    """Containers of one stack, all running unless told otherwise, and a record of the calls."""

    def __init__(self, stack: Stack, *, state: ContainerState = "running") -> None:
        super().__init__()
        self.address = EngineAddress()
        self.details: dict[str, ContainerDetail] = {}
        self.one_offs: dict[str, ContainerDetail] = {}
        self.foreign: list[Container] = []
        self.executor: Executor = ready
        self.log_lines: dict[str, tuple[str, ...]] = {}
        self.on_restart: Callable[[Sequence[str]], None] = lambda ids: None
        self.restarted: list[str] = []
        self.executed: list[tuple[str, tuple[str, ...]]] = []
        self.inspections = 0
        self.listings = 0
        self.slow_seconds = 0.0
        for one in stack.active:
            for replica in range(1, one.replicas + 1):
                self.add(stack, one.name, replica=replica, state=state)

    def add(
        self, stack: Stack, name: str, *, replica: int = 1, state: ContainerState = "running"
    ) -> str:
        identity = f"{len(self.details):02x}{name.encode().hex()}".ljust(64, "0")[:64]
        ports = [one for one in stack.ports if one.service == name]
        replicas = stack.service(name).replicas
        own = ports[replica - 1 : replica] if replicas > 1 else ports
        self.details[identity] = ContainerDetail(
            id=identity,
            name=f"ktrdr--feat-x-{name}-{replica}",
            service=name,
            replica=replica,
            state=state,
            health="none",
            exit_code=0,
            oom_killed=False,
            restart_count=0,
            error="",
            started_at="" if state == "created" else "first",
            finished_at="",
            published=tuple((one.host_ip, one.published, one.target, one.protocol) for one in own),
        )
        return identity

    def one_off(self, like: str, identity: str, **fields: Any) -> str:
        """One more container of a service, that is none of the stack's."""
        first = self.details[self.identity(like)]
        self.one_offs[identity] = replace(first, id=identity, name=identity, **fields)
        return identity

    def identity(self, name: str, *, replica: int = 1) -> str:
        return next(
            one.id for one in self.details.values() if (one.service, one.replica) == (name, replica)
        )

    def change(self, name: str, *, replica: int = 1, **fields: Any) -> None:
        identity = self.identity(name, replica=replica)
        self.details[identity] = replace(self.details[identity], **fields)

    def start(self, name: str, *, replica: int = 1, when: str = "second") -> None:
        self.change(name, replica=replica, state="running", started_at=when, exit_code=0)

    # -- what the gate asks ----------------------------------------------------------------------

    def containers(
        self, *, uuid: str | None = None, ids: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        self.listings += 1
        self._fail()
        own = [
            Container(
                id=one.id,
                name=one.name,
                state=one.state,
                status="",
                image="",
                project=INSTANCE.id,
                service=one.service,
                oneoff=one.id in self.one_offs,
                instance_id=INSTANCE.id,
                uuid=UUID,
            )
            for one in (*self.one_offs.values(), *self.details.values())
        ]
        return tuple(one for one in (*own, *self.foreign) if uuid in (None, one.uuid))

    def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
        if not ids:
            return ()
        self.inspections += 1
        self._fail()
        known = {**self.details, **self.one_offs}
        return tuple(known[one] for one in ids if one in known)

    def _fail(self) -> None:
        time.sleep(self.slow_seconds)
        if self.failing is not None:
            raise self.failing

    def logs(self, container_id: str, *, tail: int) -> tuple[str, ...]:
        if container_id in self.one_offs:
            return self.log_lines.get(container_id, ())[-tail:]
        detail = self.details.get(container_id)
        return self.log_lines.get(detail.service, ())[-tail:] if detail else ()

    def execute(self, container_id: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        detail = self.details[container_id]
        self.executed.append((detail.service, tuple(argv)))
        return self.executor(detail, argv)

    def restart(self, ids: Sequence[str], *, grace: int | None) -> None:
        self.restarted += [self.details[one].name for one in ids]
        for one in ids:
            run = self.details[one].started_at + "+"
            self.details[one] = replace(self.details[one], started_at=run, restart_count=0)
        self.on_restart(ids)
