"""From a resolved Compose model and an instance to the override; the place that knows all rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.isolation import images, mounts, names, networks
from ktrdr_sandbox.isolation.model import Service, StackModel, natural, pairs, replicas, unescape
from ktrdr_sandbox.isolation.notices import stale_addresses
from ktrdr_sandbox.isolation.override import Edit, Finding
from ktrdr_sandbox.isolation.paths import Paths
from ktrdr_sandbox.isolation.ports import Allocation, allocate, rewrite_ports
from ktrdr_sandbox.isolation.refusals import find_refusals
from ktrdr_sandbox.isolation.request import (
    BindSource,
    IsolatedStack,
    IsolationRequest,
    Notice,
    Refusal,
)
from ktrdr_sandbox.isolation.roles import worker_type
from ktrdr_sandbox.models import Role, Stack, StackService

_SECTIONS: Final = ("services", "networks", "volumes", "secrets", "configs")
_RESTART_CONDITIONS: Final = {"none": "no", "on-failure": "on-failure", "any": "always"}


def isolate(model: Mapping[str, Any], request: IsolationRequest) -> IsolatedStack:
    """What to lay over the Compose file for one instance, and what a person should know of it.

    `model` is the outcome of `docker compose config --format json` with `-p` set to the instance's
    id. The same model and request give the same result. Refusals are listed, not raised;
    SandboxError `compose-file-invalid` is raised for what is no Compose model.
    """
    stack = StackModel.read(model, request.networks)
    instance_id = request.instance.id
    paths = Paths(request)
    own_images = images.built_images(stack, request)
    allocation = allocate(stack, request)
    settled = mounts.settle_mounts(stack, paths, own_images)
    memberships = tuple(networks.external_memberships(stack, request))
    missing = list(mounts.missing_sources(stack, settled, request, paths))
    sources: dict[Path, BindSource] = {}
    for item in missing:
        if isinstance(item, BindSource):
            sources.setdefault(item.path, item)
    findings: list[Finding] = [
        *names.release_container_names(stack, request),
        *images.scope_images(stack, own_images),
        *rewrite_ports(stack, allocation, request),
        *mounts.move_binds(settled),
        *mounts.move_files(stack, paths),
        *networks.scope_networks(stack, request, memberships),
        *networks.link_own_services(stack, request),
        *names.scope_volumes(stack, request),
        *mounts.move_devices(stack, paths),
        *names.name_the_instance(stack, instance_id),
        *names.label_everything(stack, request),
        *find_refusals(stack, request),
        *mounts.outside_notices(settled, request, paths),
        *stale_addresses(stack, allocation, request),
        *(item for item in missing if isinstance(item, Notice)),
    ]
    edits = [finding for finding in findings if isinstance(finding, Edit)]
    return IsolatedStack(
        override=_assemble(edits, stack),
        changes=tuple(change for edit in edits for change in edit.changes),
        refusals=tuple(finding for finding in findings if isinstance(finding, Refusal)),
        notices=tuple(finding for finding in findings if isinstance(finding, Notice)),
        stack=Stack(
            services=tuple(
                _service(name, service, allocation.assignment.roles[name], own_images, request)
                for name, service in stack.services.items()
            ),
            ports=allocation.published(request.bind_address),
        ),
        images=own_images.written,
        seeds=images.image_seeds(stack, own_images, request),
        bind_sources=tuple(sources.values()),
        memberships=memberships,
        env=_environment(allocation),
    )


def _assemble(edits: Iterable[Edit], stack: StackModel) -> dict[str, Any]:
    """One document of all edits: services in the model's order, each one's keys as they came."""
    document: dict[str, Any] = {section: {} for section in _SECTIONS}
    document["services"] = {name: {} for name in stack.services}
    for edit in edits:
        node = document
        for key in edit.path[:-1]:
            node = node.setdefault(key, {})
        node[edit.path[-1]] = edit.entry
    return {section: body for section, body in document.items() if body}


def _environment(allocation: Allocation) -> dict[str, str]:
    """Ports of workers and of the extra block, by the names that `.env.sandbox` gives them."""
    variables = [
        (variable, str(port))
        for publication in allocation.publications
        if publication.role in {None, "worker"}
        for port, variable in zip(publication.given, publication.variables, strict=True)
    ]
    return dict(sorted(variables, key=lambda pair: natural(pair[0])))


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
        declared = {str(key): {} for key in declared}
    dependencies = {key: body or {} for key, body in declared.items()}
    check = service.get("healthcheck") or {}
    return StackService(
        name=name,
        replicas=replicas(service),
        active=name in request.active,
        roles=roles,
        image=own_images.of_service(name, service) or service.get("image"),
        builds=bool(service.get("build")),
        depends_on={
            k: body.get("condition", "service_started") for k, body in dependencies.items()
        },
        optional_dependencies=frozenset(
            key for key, body in dependencies.items() if body.get("required") is False
        ),
        has_healthcheck=bool(check) and not check.get("disable") and check.get("test") != ["NONE"],
        restart=_restart(service),
        worker_type=worker_type(name, service) if "worker" in roles else None,
        environment={
            key: unescape(value)
            for key, value in pairs(service.get("environment")).items()
            if value is not None
        },
    )


def _restart(service: Service) -> str:
    """`restart`, or what `deploy.restart_policy` means in its words."""
    if service.get("restart"):
        return str(service["restart"])
    policy = (service.get("deploy") or {}).get("restart_policy")
    if policy is None:
        return "no"
    return _RESTART_CONDITIONS.get(str(policy.get("condition") or "any"), "no")
