"""The stack as start-up, gate and status need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.images import Images
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.ports import Allocation
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.roles import worker_type
from ktrdr_sandbox.models import Role, Stack, StackService

_RESTART_CONDITIONS: Final = {"none": "no", "on-failure": "on-failure", "any": "always"}


def derive_stack(
    model: Mapping[str, Any], allocation: Allocation, images: Images, request: IsolationRequest
) -> Stack:
    """Services and host ports after isolation, inactive services included."""
    return Stack(
        services=tuple(
            _service(name, service, allocation.casting.roles[name], images, request)
            for name, service in compose.services(model).items()
        ),
        ports=allocation.published(request.bind_address),
    )


def _service(
    name: str,
    service: Service,
    roles: frozenset[Role],
    images: Images,
    request: IsolationRequest,
) -> StackService:
    dependencies = _dependencies(service)
    return StackService(
        name=name,
        replicas=compose.replicas(service),
        active=name in request.active,
        roles=roles,
        image=images.of_service(name, service) or service.get("image"),
        builds=bool(service.get("build")),
        depends_on={key: body.get("condition", "service_started") for key, body in dependencies},
        optional_dependencies=frozenset(
            key for key, body in dependencies if body.get("required") is False
        ),
        has_healthcheck=_has_healthcheck(service),
        restart=_restart(service),
        worker_type=worker_type(name, service) if "worker" in roles else None,
        environment={
            key: compose.unescape(value)
            for key, value in compose.pairs(service.get("environment")).items()
            if value is not None
        },
    )


def _dependencies(service: Service) -> list[tuple[str, Mapping[str, Any]]]:
    declared = service.get("depends_on") or {}
    if isinstance(declared, Mapping):
        return [(key, body or {}) for key, body in declared.items()]
    return [(str(key), {}) for key in declared]


def _has_healthcheck(service: Service) -> bool:
    check = service.get("healthcheck") or {}
    return bool(check) and not check.get("disable") and check.get("test") != ["NONE"]


def _restart(service: Service) -> str:
    """`restart`, or what `deploy.restart_policy` means in its words."""
    if service.get("restart"):
        return str(service["restart"])
    policy = (service.get("deploy") or {}).get("restart_policy")
    if policy is None:
        return "no"
    return _RESTART_CONDITIONS.get(str(policy.get("condition") or "any"), "no")
