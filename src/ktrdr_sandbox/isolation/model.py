"""Reading a resolved Compose model: its sections, and the forms that a value may take.

Strings of the model have `$` doubled, because Compose prints them to be read again. They go into
the override as they are; `unescape` them before comparing with anything outside of Compose, and
`escape` what comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ktrdr_sandbox.errors import SandboxError

Service = Mapping[str, Any]
Section = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class StackModel:
    """The sections of a model. `external` are the keys of the networks that exist outside."""

    services: Mapping[str, Service]
    networks: Section
    volumes: Section
    secrets: Section
    configs: Section
    external: frozenset[str]

    @classmethod
    def read(cls, model: Mapping[str, Any], existing_networks: Collection[str]) -> StackModel:
        """Raises SandboxError `compose-file-invalid` for what cannot be a Compose model."""
        services = model.get("services")
        if not isinstance(services, Mapping) or not all(
            isinstance(body, Mapping) for body in services.values()
        ):
            raise SandboxError(
                "compose-file-invalid", "The resolved Compose model has no services to isolate."
            )
        sections = {
            name: {key: body or {} for key, body in (model.get(name) or {}).items()}
            for name in ("networks", "volumes", "secrets", "configs")
        }
        external = frozenset(
            key
            for key, body in sections["networks"].items()
            if body.get("external") and declared_name(key, body) in existing_networks
        )
        return cls(services, **sections, external=external)

    @property
    def own_networks(self) -> Section:
        return {key: body for key, body in self.networks.items() if key not in self.external}


def declared_name(key: str, body: Mapping[str, Any]) -> str:
    """The name of a volume or network: as declared, else its key."""
    return str(body.get("name") or key)


def pairs(value: Any) -> dict[str, str | None]:
    """Environment or labels in either form. None marks a variable passed through by name."""
    if isinstance(value, Mapping):
        texts = {key: str(item) for key, item in value.items() if item is not None}
        flags = {key: text.lower() for key, text in texts.items() if isinstance(value[key], bool)}
        return {key: flags.get(key, texts.get(key)) for key in value}
    split = (str(item).partition("=") for item in value or ())
    return {key: rest if equals else None for key, equals, rest in split}


def attachments(service: Service) -> dict[str, Mapping[str, Any]]:
    """The networks a service is on, each with its body, from the list or the map form."""
    networks = service.get("networks") or {}
    if isinstance(networks, Mapping):
        return {key: body or {} for key, body in networks.items()}
    return {str(key): {} for key in networks}


def mounts(service: Service) -> list[Mapping[str, Any]]:
    """The mounts of a service. Compose prints them in the long form only."""
    return [volume for volume in service.get("volumes") or [] if isinstance(volume, Mapping)]


def replicas(service: Service) -> int:
    """How many containers Compose starts for the service: `scale` before `deploy.replicas`.

    A service with a `provider` is run by a program beside Compose and has none, whatever they say:
    https://docs.docker.com/compose/how-tos/provider-services/
    """
    if service.get("provider"):
        return 0
    for count in (service.get("scale"), (service.get("deploy") or {}).get("replicas")):
        if count is not None:
            return int(count)
    return 1


def escape(text: str) -> str:
    """Text from outside, such that Compose reads it back unchanged."""
    return text.replace("$", "$$")


def unescape(text: str) -> str:
    """A string of the model as the containers and the file system will see it."""
    return text.replace("$$", "$")


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `worker-2` before `worker-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
