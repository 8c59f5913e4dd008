"""From a resolved Compose model and an instance to the override; the place that knows all rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ktrdr_sandbox.isolation import images, mounts, names, networks
from ktrdr_sandbox.isolation.model import Service, StackModel, natural, pairs, replicas, unescape
from ktrdr_sandbox.isolation.notices import stale_addresses
from ktrdr_sandbox.isolation.override import Edit, Finding
from ktrdr_sandbox.isolation.ports import allocate, rewrite_ports
from ktrdr_sandbox.isolation.refusals import find_refusals
from ktrdr_sandbox.isolation.request import IsolatedStack, IsolationRequest, Notice, Refusal
from ktrdr_sandbox.isolation.roles import worker_type
from ktrdr_sandbox.models import Role, Stack, StackService

_SECTIONS: Final = ("networks", "volumes", "secrets", "configs")
_RESTART_CONDITIONS: Final = {"none": "no", "on-failure": "on-failure", "any": "always"}


def isolate(model: Mapping[str, Any], request: IsolationRequest) -> IsolatedStack:
    """What to lay over the Compose file for one instance, and what a person should know of it.

    `model` is the outcome of `docker compose config --format json` with `-p` set to the instance's
    id. The same model and request give the same result. Refusals are listed, not raised;
    SandboxError `compose-file-invalid` is raised for what is no Compose model.
    """
    stack = StackModel.read(model, request.networks)
    paths = mounts.Paths(request)
    own_images = images.built_images(stack, request)
    allocation = allocate(stack, request)
    settled = mounts.settle_mounts(stack, paths, own_images)
    memberships = tuple(networks.external_memberships(stack, request))
    findings: list[Finding] = [
        *names.release_container_names(stack, request),
        *images.scope_images(stack, own_images),
        *rewrite_ports(stack, allocation, request),
        *mounts.move_binds(settled),
        *mounts.move_files(stack, paths),
        *networks.scope_networks(stack, request, memberships),
        *networks.link_own_services(stack, request),
        *names.scope_names("volumes", stack.volumes, request),
        *mounts.move_devices(stack, paths),
        *names.name_the_instance(stack, request.instance.id),
        *names.label_everything(stack, request),
        *find_refusals(stack, request),
        *mounts.mount_notices(settled, request, paths),
        *stale_addresses(stack, allocation.publications, request),
    ]
    document: dict[str, Any] = {"services": {name: {} for name in stack.services}}
    document.update({section: {} for section in _SECTIONS})
    edits = [finding for finding in findings if isinstance(finding, Edit)]
    for edit in edits:
        node = document
        for key in edit.path[:-1]:
            node = node.setdefault(key, {})
        node[edit.path[-1]] = edit.entry
    services = tuple(
        _service(name, service, allocation.roles[name], own_images, request)
        for name, service in stack.services.items()
    )
    ports = tuple(port for entry in allocation.publications for port in entry.given)
    variables = [(port.variable, port.published) for port in ports if port.role in (None, "worker")]
    return IsolatedStack(
        override={section: body for section, body in document.items() if body},
        changes=tuple(change for edit in edits for change in edit.changes),
        refusals=tuple(finding for finding in findings if isinstance(finding, Refusal)),
        notices=tuple(finding for finding in findings if isinstance(finding, Notice)),
        stack=Stack(services=services, ports=ports),
        images=own_images.written,
        seeds=images.image_seeds(stack, own_images, request),
        bind_sources=mounts.missing_sources(stack, settled, request, paths),
        memberships=memberships,
        env={key: str(port) for key, port in sorted(variables, key=lambda one: natural(one[0]))},
    )


def _service(
    name: str,
    service: Service,
    roles: frozenset[Role],
    own_images: images.Images,
    request: IsolationRequest,
) -> StackService:
    """The service as start-up, gate and status need it."""
    declared = service.get("depends_on") or {}
    if not isinstance(declared, Mapping):
        declared = dict.fromkeys(map(str, declared))
    dependencies = {key: body or {} for key, body in declared.items()}
    check = service.get("healthcheck") or {}
    policy = (service.get("deploy") or {}).get("restart_policy", {"condition": "none"})
    restart = _RESTART_CONDITIONS.get(policy.get("condition") or "any", "no")
    environment = pairs(service.get("environment"))
    return StackService(
        name=name,
        replicas=replicas(service),
        active=name in request.active,
        roles=roles,
        image=own_images.of_service(name, service) or service.get("image"),
        builds=bool(service.get("build")),
        depends_on={
            key: body.get("condition", "service_started") for key, body in dependencies.items()
        },
        optional_dependencies=frozenset(
            key for key, body in dependencies.items() if body.get("required") is False
        ),
        has_healthcheck=bool(check) and not check.get("disable") and check.get("test") != ["NONE"],
        restart=str(service.get("restart") or restart),
        worker_type=worker_type(name, service) if "worker" in roles else None,
        environment={
            key: unescape(value) for key, value in environment.items() if value is not None
        },
    )
