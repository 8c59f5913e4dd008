"""Top-level volumes: every instance has its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.places import Place, Places
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import BindSource, Notice
from ktrdr_sandbox.isolation.scope import own_names


def scope_volumes(model: Mapping[str, Any], request: IsolationRequest, places: Places) -> Findings:
    """Own names for external volumes and for those with a fixed name; own places for devices."""
    volumes = compose.section(model, "volumes")
    for key, name in own_names(volumes, request.instance.id).items():
        declared = str(volumes[key].get("name") or key)
        if volumes[key].get("external"):
            reason = "an external volume is one for all: this instance gets its own, empty"
            yield reset(("volumes", key, "external"), reason, before="true")
        reason = "a fixed name is one volume for all instances"
        yield edit(("volumes", key, "name"), name, reason, before=declared, after=name)
    for key, body in volumes.items():
        yield from _device(key, body, places)


def _device(key: str, body: Mapping[str, Any], places: Places) -> Findings:
    """A volume that is really a folder of the host, or a share of the network."""
    device = (body.get("driver_opts") or {}).get("device")
    if not device:
        return
    move = _folder(key, body, places)
    if move is None:
        if (body["driver_opts"].get("type") or "") != "tmpfs":
            text = f"volume {key} is on {device}: every instance writes the same place"
            yield Notice(service=None, text=text)
    elif move.reason:
        path = ("volumes", key, "driver_opts", "device")
        yield edit(path, move.value, move.reason, before=str(device), after=move.path)
    elif not places.is_own(move.path):
        text = f"volume {key} is {move.path}: every instance writes the same place"
        yield Notice(service=None, text=text)


def missing_devices(model: Mapping[str, Any], places: Places) -> Iterator[BindSource]:
    """Folders to create first: the engine makes none for a volume, and fails."""
    for key, body in compose.section(model, "volumes").items():
        place = _folder(key, body, places)
        if place is not None and not places.exists(place.path):
            yield BindSource(path=Path(place.path), own=places.is_own(place.path))


def _folder(key: str, body: Mapping[str, Any], places: Places) -> Place | None:
    """The folder of the host that a volume is, settled; None for any other volume."""
    options = body.get("driver_opts") or {}
    device = str(options.get("device") or "")
    if not device.startswith("/") or not _binds(options):
        return None
    return places.settle(device, raw=places.raw.device(key))


def _binds(options: Mapping[str, Any]) -> bool:
    """Whether the local driver mounts a folder of the host: `type: none` or `o: bind`."""
    return options.get("type") in {"none", "bind"} or "bind" in str(options.get("o")).split(",")
