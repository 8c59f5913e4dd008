"""Top-level volumes: every instance has its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit, reset
from ktrdr_sandbox.isolation.places import Places
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import Notice
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
    if not str(device).startswith("/") or not _binds(body["driver_opts"]):
        if (body["driver_opts"].get("type") or "") != "tmpfs":
            text = f"volume {key} is on {device}: every instance writes the same place"
            yield Notice(service=None, text=text)
        return
    move = places.settle(str(device), raw=places.raw.device(key))
    if move.reason:
        path = ("volumes", key, "driver_opts", "device")
        yield edit(path, move.value, move.reason, before=str(device), after=move.path)
    elif not places.is_own(move.path):
        text = f"volume {key} is {move.path}: every instance writes the same place"
        yield Notice(service=None, text=text)


def _binds(options: Mapping[str, Any]) -> bool:
    """Whether the local driver mounts a folder of the host: `type: none` or `o: bind`."""
    return options.get("type") in {"none", "bind"} or "bind" in str(options.get("o")).split(",")
