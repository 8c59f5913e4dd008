"""Whose it is: labels on everything Compose creates, and the instance's name in every container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.isolation.findings import Findings, edit
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_SLOT, LABEL_UUID, Instance

RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"


def label_everything(
    model: Mapping[str, Any], request: IsolationRequest, joined: frozenset[str]
) -> Findings:
    """Labels on containers, networks and volumes, except networks that are only joined.

    The slot is not put on volumes: Compose wants to make a volume anew whose labels have changed,
    and a slot changes by `move`.
    """
    instance = request.instance
    owner_labels = {
        LABEL_ID: instance.id,
        LABEL_UUID: instance.uuid,
        LABEL_HOME: request.home_id,
    }
    slot_label = {LABEL_SLOT: str(instance.slot)}
    owners = [
        *(("services", name) for name in compose.services(model)),
        *(("networks", name) for name in compose.section(model, "networks") if name not in joined),
        *(("volumes", name) for name in compose.section(model, "volumes")),
    ]
    for owner in owners:
        yield edit(
            (*owner, "labels"),
            owner_labels if owner[0] == "volumes" else owner_labels | slot_label,
            "only what carries our uuid is ever removed",
            after=f"{LABEL_UUID}={instance.uuid}",
        )


def name_the_instance(model: Mapping[str, Any], instance: Instance) -> Findings:
    """`INSTANCE_ID`, and telemetry attributes beside those the file already gives."""
    for name, service in compose.services(model).items():
        environment = compose.pairs(service.get("environment"))
        wanted = {
            "INSTANCE_ID": (instance.id, "which instance this container belongs to"),
            RESOURCE_ATTRIBUTES: (
                resource_attributes(environment.get(RESOURCE_ATTRIBUTES), instance.id),
                "telemetry tells instances apart by this",
            ),
        }
        for key, (value, reason) in wanted.items():
            before = environment.get(key) or ""
            if value != before:
                yield edit(
                    ("services", name, "environment", key),
                    value,
                    reason,
                    before=before,
                    after=value,
                )


def resource_attributes(existing: str | None, instance_id: str) -> str:
    """OpenTelemetry's `key=value,...` list with ours added and all others kept in place.

    An `instance.id` that is already there came from this very variable, or from another sandbox's
    shell, and is replaced. `deployment.environment` is only given where the file gives none.
    """
    kept = [
        part
        for part in (existing or "").split(",")
        if part.strip() and part.partition("=")[0].strip() != "instance.id"
    ]
    keys = {part.partition("=")[0].strip() for part in kept}
    if not keys & {"deployment.environment", "deployment.environment.name"}:
        kept.append("deployment.environment=sandbox")
    return ",".join([*kept, f"instance.id={instance_id}"])
