"""What the last `up` made of an instance, kept for commands that must not need its Compose file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ktrdr_sandbox.files import private_mode, replace_file
from ktrdr_sandbox.models import Instance, PublishedPort
from ktrdr_sandbox.paths import Home

if TYPE_CHECKING:
    from ktrdr_sandbox.isolation.request import IsolatedStack


FILE = "stack.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRecord:
    """Services and host ports of the last `up`. `images` are all that the instance ever built."""

    services: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    images: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of what each image was made from, see `prepare.stale_images`."""


def save(
    home: Home,
    instance: Instance,
    isolation: IsolatedStack,
    *,
    inputs: Mapping[str, str],
    kept: Iterable[str] = (),
) -> None:
    """Write the record; `kept` are the instance's images that its file does not build any more.

    Raises `cannot-write`.
    """
    document = {
        "uuid": instance.uuid,
        "slot": instance.slot,
        "services": [service.name for service in isolation.stack.startable],
        "ports": [asdict(port) for port in isolation.stack.ports],
        "images": sorted({*isolation.images, *kept}),
        "inputs": dict(inputs),
    }
    path = home.state_of(instance.id) / FILE
    replace_file(path, json.dumps(document, indent=2) + "\n", mode=private_mode(path.parent))


def load(home: Home, instance: Instance) -> StackRecord:
    """The record, empty when there is none or it is of another instance of that name.

    Ports of another slot than the instance's are of no use any more and left out.
    """
    try:
        document = json.loads((home.state_of(instance.id) / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return StackRecord()
    if not isinstance(document, dict) or document.get("uuid") != instance.uuid:
        return StackRecord()
    kept = _parsed(document)
    return kept if document.get("slot") == instance.slot else replace(kept, ports=())


def _parsed(document: Mapping[str, Any]) -> StackRecord:
    try:
        return StackRecord(
            services=tuple(document["services"]),
            ports=tuple(PublishedPort(**port) for port in document["ports"]),
            images=tuple(document["images"]),
            inputs=dict(document["inputs"]),
        )
    except (KeyError, TypeError):
        return StackRecord()
