"""Requests and models for tests of isolation: a plain instance in slot 2, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.override import Entry
from ktrdr_sandbox.isolation.request import IsolatedStack, IsolationRequest
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports

ROOT = Path("/dev/code/ktrdr--feat-x")
PARENT = Path("/dev/code/ktrdr")
SHARED = {name: Path("/home/me/.ktrdr/shared") / name for name in ("data", "models", "strategies")}


def an_instance(
    *, slot: int = 2, name: str = "feat-x", path: Path = ROOT, uuid: str = "uuid-of-feat-x"
) -> Instance:
    return Instance(
        id=f"ktrdr--{name}",
        uuid=uuid,
        slot=slot,
        path=path,
        created_at="2026-01-15T10:30:00Z",
        is_worktree=True,
        parent_repo=PARENT,
        state="created",
        created_by="create",
    )


def a_request(instance: Instance | None = None, **changes: Any) -> IsolationRequest:
    """A request for a machine where every path exists, changed as told."""
    instance = instance or an_instance()
    request = IsolationRequest(
        instance=instance,
        home_id="id-of-home",
        bind_address="127.0.0.1",
        ports=get_ports(instance.slot),
        extra_ports=extra_ports(instance.slot),
        parent_checkout=PARENT,
        compose_directory=instance.path,
        shared=SHARED,
        active=frozenset(),
        exists=lambda path: True,
    )
    return replace(request, **changes)


def unprofiled(model: Mapping[str, Any]) -> frozenset[str]:
    """The services that run when nobody enables a profile."""
    return frozenset(name for name, body in model["services"].items() if not body.get("profiles"))


def isolated(
    services: Mapping[str, Any], instance: Instance | None = None, **rest: Any
) -> IsolatedStack:
    """Isolate these services. Sections of the model by name; all else changes the request."""
    sections = ("networks", "volumes", "secrets", "configs")
    model = {"services": services, **{key: rest.pop(key) for key in sections if key in rest}}
    rest.setdefault("active", unprofiled(model))
    return isolate(model, a_request(instance, **rest))


def port(target: int, published: int | str | None = None, **more: Any) -> dict[str, Any]:
    """A published port as `docker compose config` prints it."""
    body = {"mode": "ingress", "target": target, "protocol": "tcp", **more}
    return body if published is None else {**body, "published": str(published)}


def bind(source: str, target: str = "/target", **more: Any) -> dict[str, Any]:
    """A bind as `docker compose config` prints it."""
    return {"type": "bind", "source": source, "target": target, "bind": {}, **more}


def plain(node: Any) -> Any:
    """The nested values without reasons; `{tag: value}` where a merge tag matters."""
    if isinstance(node, Entry):
        value = plain(node.value)
        return {node.tag: value} if node.tag else value
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list) else node
