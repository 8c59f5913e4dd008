"""Names and labels: of volumes, networks and containers, and the instance's in every container."""

from __future__ import annotations

from typing import Final

from ktrdr_sandbox.isolation.model import (
    Section,
    Service,
    StackModel,
    attachments,
    declared_name,
    pairs,
    replicas,
)
from ktrdr_sandbox.isolation.override import Findings, edit, reset
from ktrdr_sandbox.isolation.request import IsolationRequest, Notice
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_SLOT, LABEL_UUID

_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"


def scope_names(section: str, resources: Section, request: IsolationRequest) -> Findings:
    """Own names for external volumes and networks, and for those with a fixed name.

    Keys that are declared with the same name are the same resource, and stay one.
    """
    project, kind = request.instance.id, section.removesuffix("s")
    first_key: dict[str, str] = {}
    for key, body in resources.items():
        declared = declared_name(key, body)
        own = f"{project}_{first_key.setdefault(declared, key)}"
        if body.get("external"):
            reason = f"there is no network {declared}: this instance makes its own"
            if kind == "volume":
                reason = "an external volume is one for all: this instance gets its own, empty"
            else:
                text = f"the external network {declared} does not exist; {own} is made in its place"
                yield Notice(None, text)
            yield reset((section, key, "external"), reason, before="true")
        if body.get("external") or not declared.startswith((f"{project}_", f"{project}-")):
            reason = f"a fixed name is one {kind} for all instances"
            yield edit((section, key, "name"), own, reason, before=declared)


def container_name(name: str, service: Service, request: IsolationRequest) -> str:
    """What the one container of a service is called: as by Compose, unless that is taken.

    `ktrdr--feat-test-web-1` is `web` of the instance `feat-test`, and `test-web` of `feat`.
    """
    by_compose = f"{request.instance.id}-{name}-1"
    is_taken = by_compose in request.containers and replicas(service) == 1
    return f"{request.instance.id}.{name}" if is_taken else by_compose


def release_container_names(model: StackModel, request: IsolationRequest) -> Findings:
    """Let Compose name the containers after the project.

    Other services may be set up with the file's name, so it stays as an alias: in the instance's
    own networks only, because on an external one it would lead to other instances' containers.
    """
    for name, service in model.services.items():
        fixed = service.get("container_name") or ""
        path = ("services", name, "container_name")
        own = container_name(name, service, request)
        if own.startswith(f"{request.instance.id}."):
            reason = "another instance has a container of the name that Compose would make up"
            yield edit(path, own, reason, before=fixed)
        elif fixed:
            yield reset(path, "a container name exists once per engine", before=fixed)
        for network in attachments(service) if fixed and fixed not in model.services else ():
            if network not in model.external:
                aliases = ("services", name, "networks", network, "aliases")
                reason = "the dropped container name still leads here, inside this instance"
                yield edit(aliases, [fixed], reason)


def label_everything(model: StackModel, request: IsolationRequest) -> Findings:
    """Labels on containers, networks and volumes, except networks that are only joined.

    Not the slot on volumes: Compose wants to make those anew whose labels change, as by `move`.
    """
    instance = request.instance
    labels = {LABEL_ID: instance.id, LABEL_UUID: instance.uuid, LABEL_HOME: request.home_id}
    with_slot = {**labels, LABEL_SLOT: str(instance.slot)}
    reason = "only what carries our uuid is ever removed"
    after = f"{LABEL_UUID}={instance.uuid}"
    for section, keys, wanted in (
        ("services", model.services, with_slot),
        ("networks", model.own_networks, with_slot),
        ("volumes", model.volumes, labels),
    ):
        for key in keys:
            yield edit((section, key, "labels"), wanted, reason, after=after)


def name_the_instance(model: StackModel, instance_id: str) -> Findings:
    """`INSTANCE_ID`, and telemetry attributes beside those the file already gives."""
    for name, service in model.services.items():
        environment = pairs(service.get("environment"))
        attributes = resource_attributes(environment.get(_ATTRIBUTES), instance_id)
        for key, value, reason in (
            ("INSTANCE_ID", instance_id, "which instance this container belongs to"),
            (_ATTRIBUTES, attributes, "telemetry tells instances apart by this"),
        ):
            before = environment.get(key) or ""
            if value != before:
                yield edit(("services", name, "environment", key), value, reason, before=before)


def resource_attributes(existing: str | None, instance_id: str) -> str:
    """OpenTelemetry's `key=value,...` list with ours added and all others kept in place.

    An `instance.id` that is already there came from this variable, or another sandbox's shell.
    """
    given = [(part.partition("=")[0].strip(), part) for part in (existing or "").split(",")]
    kept = {key: part for key, part in given if part.strip() and key != "instance.id"}
    parts = list(kept.values())
    if not kept.keys() & {"deployment.environment", "deployment.environment.name"}:
        parts.append("deployment.environment=sandbox")
    return ",".join([*parts, f"instance.id={instance_id}"])
