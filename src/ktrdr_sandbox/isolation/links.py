"""Names on external networks: a service finds its own instance's containers under them first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.result import Notice


def lead_names_home(model: Mapping[str, Any], instance_id: str, joined: frozenset[str]) -> Findings:
    """Link every service of a `joined` network to the containers of its own instance.

    Every stack on such a network has a `backend` there, and the engine answers a name from the
    network that comes first by its own name: workers would register with the backend of another
    instance, or of the main environment. A link is asked before any network, and leads to one
    container by its own name. It may name one that does not exist.
    """
    services = compose.services(model)
    for name, service in services.items():
        if not joined & compose.attachments(service).keys():
            continue
        links = links_home(service, services, instance_id)
        if links:
            reason = "on an external network the same names lead to other stacks as well"
            yield edit(("services", name, "external_links"), links, reason, after=", ".join(links))
        yield from _shared_names(name, service, services, joined)


def links_home(service: Service, services: Mapping[str, Service], instance_id: str) -> list[str]:
    """`container:alias` for each name by which the service may call one of its own instance."""
    return [
        f"{instance_id}-{other}-1:{alias}"
        for other, content in services.items()
        if compose.replicas(content) == 1
        for alias in _names(other, content, compose.attachments(service))
    ]


def _names(name: str, service: Service, seen_from: Mapping[str, Any]) -> list[str]:
    """What a service is called in the networks that another one is on."""
    shared = [body for key, body in compose.attachments(service).items() if key in seen_from]
    if not shared:
        return []
    aliases = [str(alias) for body in shared for alias in body.get("aliases") or ()]
    fixed = service.get("container_name")
    return list(dict.fromkeys([name, *([str(fixed)] if fixed else []), *aliases]))


def _shared_names(
    name: str, service: Service, services: Mapping[str, Service], joined: frozenset[str]
) -> Iterator[Notice]:
    """Several containers have no link in common."""
    seen = compose.attachments(service).keys()
    for other, content in services.items():
        both = joined & seen & compose.attachments(content).keys()
        if compose.replicas(content) > 1 and both:
            text = (
                f"on the external network {', '.join(sorted(both))} the name {other} leads to "
                "other stacks' containers as well: it has several of its own"
            )
            yield Notice(service=name, text=text)
