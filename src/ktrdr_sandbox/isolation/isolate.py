"""From a resolved Compose model and an instance to the override; the place that knows all rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.addresses import stale_addresses
from ktrdr_sandbox.isolation.binds import (
    missing_sources,
    mounts,
    move_binds,
    outside_notices,
    sources_of,
)
from ktrdr_sandbox.isolation.document import Document
from ktrdr_sandbox.isolation.files import move_files
from ktrdr_sandbox.isolation.findings import Edit, Finding
from ktrdr_sandbox.isolation.guests import guests
from ktrdr_sandbox.isolation.identity import label_everything, name_the_instance
from ktrdr_sandbox.isolation.images import built_images, image_seeds, scope_images
from ktrdr_sandbox.isolation.links import lead_names_home
from ktrdr_sandbox.isolation.naming import release_container_names
from ktrdr_sandbox.isolation.networks import joined_networks, scope_networks
from ktrdr_sandbox.isolation.places import Places
from ktrdr_sandbox.isolation.ports import Allocation, allocate, rewrite_ports
from ktrdr_sandbox.isolation.refusals import find_refusals
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Isolation, Notice, Refusal
from ktrdr_sandbox.isolation.stack import derive_stack
from ktrdr_sandbox.isolation.subnets import choose_subnets
from ktrdr_sandbox.isolation.volumes import missing_devices, scope_volumes

_SECTIONS: Final = ("services", "networks", "volumes", "secrets", "configs")


def isolate(model: Mapping[str, Any], request: IsolationRequest) -> Isolation:
    """What to lay over the Compose file for one instance, and what a person should know of it.

    `model` is the outcome of `docker compose --profile '*' config --format json` with `-p` set to
    the instance's id. The same model and request give the same result. Refusals are listed, not
    raised; SandboxError `compose-file-invalid` is raised for what is no Compose model.
    """
    services = compose.services(model)
    places = Places(request)
    joined = joined_networks(model, request.networks)
    images = built_images(model, request)
    allocation = allocate(model, request)
    found = mounts(model, places, images)
    findings: list[Finding] = list(
        chain(
            release_container_names(model, joined),
            scope_images(model, images),
            rewrite_ports(model, allocation, request),
            move_binds(found),
            move_files(model, places),
            scope_networks(model, request, joined),
            lead_names_home(model, request.instance.id, joined),
            choose_subnets(model, request, joined),
            scope_volumes(model, request, places),
            name_the_instance(model, request.instance),
            label_everything(model, request, joined),
            find_refusals(model, request),
            outside_notices(found, request, places),
            stale_addresses(model, allocation, request),
        )
    )
    edits = [finding for finding in findings if isinstance(finding, Edit)]
    sources, warnings = sources_of(
        chain(missing_sources(found, request, places), missing_devices(model, places))
    )
    notices = [finding for finding in findings if isinstance(finding, Notice)]
    return Isolation(
        override=_assemble(edits, services),
        changes=tuple(change for edit in edits for change in edit.changes),
        refusals=tuple(finding for finding in findings if isinstance(finding, Refusal)),
        notices=(*notices, *warnings),
        stack=derive_stack(model, allocation, images, request),
        images=images.written,
        seeds=image_seeds(model, images, request),
        bind_sources=tuple(sources),
        guests=tuple(guests(model, request.instance.id, joined)),
        env=_environment(allocation),
    )


def _assemble(edits: Iterable[Edit], services: Mapping[str, Any]) -> Document:
    """One document of all edits: services in the model's order, each one's keys as they came."""
    document: Document = {section: {} for section in _SECTIONS}
    document["services"] = {name: {} for name in services}
    for edit in edits:
        node = document
        for key in edit.path[:-1]:
            node = node.setdefault(key, {})
        node[edit.path[-1]] = edit.entry
    return {section: body for section, body in document.items() if body}


def _environment(allocation: Allocation) -> dict[str, str]:
    """Ports of workers and of the extra block, by the names that `.env.sandbox` gives them."""
    found = [
        (variable, str(port))
        for publication in allocation.publications
        if publication.role in {None, "worker"}
        for port, variable in zip(publication.given, publication.variables, strict=True)
    ]
    return dict(sorted(found, key=lambda pair: compose.natural(pair[0])))
