"""The facts the rooms of this package pass to one another. No behaviour that reaches outside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from ktrdr_sandbox.paths import ENV_FILE_NAME as ENV_FILE_NAME
from ktrdr_sandbox.slot_numbers import FIRST_SLOT as FIRST_SLOT
from ktrdr_sandbox.slot_numbers import LAST_SLOT as LAST_SLOT

LABEL_ID: Final = "ktrdr.sandbox.instance"
"""Label with the instance id, for people and for `docker ps --filter`."""

LABEL_UUID: Final = "ktrdr.sandbox.uuid"
"""Label with the instance's uuid. The only proof of ownership: nothing without it is removed."""

LABEL_SLOT: Final = "ktrdr.sandbox.slot"

LABEL_HOME: Final = "ktrdr.sandbox.home"
"""Label with the id of the KTRDR_HOME that the instance is registered in. What carries it and
belongs to no instance of that home is an orphan; what carries another is somebody else's."""

ID_PREFIX: Final = "ktrdr--"

Role = Literal["backend", "db", "grafana", "jaeger_ui", "jaeger_otlp", "prometheus", "worker"]
"""What a published port is for. The seven names of the port map, with `worker` for worker_base."""

Protocol = Literal["tcp", "udp", "sctp"]
"""What a port may be published for. A port of one protocol is free for the others."""

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
