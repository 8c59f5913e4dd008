"""Services on networks that are not ours: there they answer to their containers' names alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.links import links_home
from ktrdr_sandbox.isolation.model import Service
from ktrdr_sandbox.isolation.result import Guest


def guests(model: Mapping[str, Any], instance_id: str, joined: frozenset[str]) -> Iterator[Guest]:
    """Every service of a `joined` network that can do without its name there.

    Compose makes a service's name an alias on each of its networks, and no file can say otherwise.
    On a network of many stacks the main environment's workers would find an instance's `backend`
    under it. The instance's own services have links (see `lead_names_home`), which only lead to
    single containers: one of several keeps its names where nothing else leads to it.
    """
    services = compose.services(model)
    networks = compose.section(model, "networks")
    for name, service in services.items():
        for key in sorted(joined & compose.attachments(service).keys()):
            if compose.replicas(service) == 1 or _found_elsewhere(service, key, services, joined):
                yield Guest(
                    service=name,
                    network=str((networks.get(key) or {}).get("name") or key),
                    links=tuple(links_home(service, services, instance_id)),
                )


def _found_elsewhere(
    service: Service, key: str, services: Mapping[str, Service], joined: frozenset[str]
) -> bool:
    """Whether each service on the network shares one of the instance's own with this one."""
    own = compose.attachments(service).keys() - joined
    there = [compose.attachments(other) for other in services.values()]
    return all(own & networks.keys() for networks in there if key in networks)
