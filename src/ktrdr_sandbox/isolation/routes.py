"""Routes of reverse proxies that read them from the Docker API: labels, or a variable.

Such a proxy knows nothing of projects. Of one router in two containers it makes one that spreads
requests over both (https://doc.traefik.io/traefik/routing/providers/docker/, and alike for
caddy-docker-proxy and nginx-proxy).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.model import Service

_TRAEFIK: Final = re.compile(r"traefik\.\w+\.(?:routers|services)\.", re.I)
_CADDY: Final = re.compile(r"caddy(?:_\d+)?", re.I)
_VARIABLE: Final = "VIRTUAL_HOST"


def shared_routes(service: Service, instance_id: str) -> list[str]:
    """Where a service declares routes that every instance of its file has: what bears the
    instance's id is its own."""
    labels = compose.pairs(service.get("labels"))
    host = compose.pairs(service.get("environment")).get(_VARIABLE)
    found = []
    if any(instance_id not in part for part in _of_traefik(labels)):
        found.append("traefik labels")
    if any(instance_id not in value for value in _of_caddy(labels)):
        found.append("caddy labels")
    if host and instance_id not in host:
        found.append(_VARIABLE)
    return found


def _of_traefik(labels: dict[str, str | None]) -> Iterator[str]:
    """Names of routers and services, and rules. What has no name gets one of the project's."""
    if (labels.get("traefik.enable") or "").lower() == "false":
        return
    for key, value in labels.items():
        if _TRAEFIK.match(key):
            yield key
            if key.endswith(".rule"):
                yield value or ""


def _of_caddy(labels: dict[str, str | None]) -> Iterator[str]:
    return (value or "" for key, value in labels.items() if _CADDY.fullmatch(key))
