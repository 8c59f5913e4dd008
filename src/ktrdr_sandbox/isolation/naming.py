"""Container names: dropped, and kept as a name inside the instance's own networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.model import Service


def release_container_names(model: Mapping[str, Any], joined: frozenset[str]) -> Findings:
    """Let Compose name the containers after the project.

    A container's name is also a name in the DNS of its networks, and other services may be set up
    with it, so it stays as an alias: in the instance's own networks only, because on one of the
    `joined` external networks the same name would lead to other instances' containers.
    """
    services = compose.services(model)
    for name, service in services.items():
        fixed = service.get("container_name")
        if not fixed:
            continue
        yield reset(
            ("services", name, "container_name"),
            "a container name exists once per engine",
            before=fixed,
        )
        if fixed not in services:
            yield from _keep_as_alias(name, service, fixed, joined)


def _keep_as_alias(name: str, service: Service, fixed: str, joined: frozenset[str]) -> Findings:
    for network in compose.attachments(service):
        if network not in joined:
            yield edit(
                ("services", name, "networks", network, "aliases"),
                [fixed],
                "the dropped container name still leads here, inside this instance",
                after=fixed,
            )
