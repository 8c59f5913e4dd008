"""Reading a resolved Compose model: its sections, and the forms that a value may take.

Strings of the model have `$` doubled, because Compose prints them to be read again. They go into
the override as they are; `unescape` them before comparing with anything outside of Compose, and
`escape` what comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ktrdr_sandbox.errors import SandboxError

Service = Mapping[str, Any]


def services(model: Mapping[str, Any]) -> Mapping[str, Service]:
    """The services by name, in the model's order.

    Raises SandboxError `compose-file-invalid` for what cannot be a Compose model.
    """
    found = model.get("services")
    if not isinstance(found, Mapping) or not all(isinstance(s, Mapping) for s in found.values()):
        raise SandboxError(
            "compose-file-invalid", "The resolved Compose model has no services to isolate."
        )
    return found


def section(model: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """A top-level section such as `volumes`, with `{}` for resources declared without a body."""
    return {key: body or {} for key, body in (model.get(name) or {}).items()}


def pairs(value: Any) -> dict[str, str | None]:
    """Environment or labels in either form. None marks a variable passed through by name."""
    if not value:
        return {}
    if isinstance(value, Mapping):
        return {key: None if item is None else _text(item) for key, item in value.items()}
    split = (str(item).partition("=") for item in value)
    return {key: rest if equals else None for key, equals, rest in split}


def attachments(service: Service) -> dict[str, Mapping[str, Any]]:
    """The networks a service is on, each with its body, from the list or the map form."""
    networks = service.get("networks") or {}
    if isinstance(networks, Mapping):
        return {key: body or {} for key, body in networks.items()}
    return {str(key): {} for key in networks}


def volumes(service: Service) -> Iterator[Mapping[str, Any]]:
    """The mounts of a service. Compose prints them in the long form only."""
    for volume in service.get("volumes") or []:
        if isinstance(volume, Mapping):
            yield volume


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


def has_profiles(service: Service) -> bool:
    return bool(service.get("profiles"))


def escape(text: str) -> str:
    """Text from outside, such that Compose reads it back unchanged."""
    return text.replace("$", "$$")


def unescape(text: str) -> str:
    """A string of the model as the containers and the file system will see it."""
    return text.replace("$$", "$")


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts `worker-2` before `worker-10`."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
