from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.names import resource_attributes
from tests.unit.isolation.requests import isolated, plain

LABELS = {
    "ktrdr.sandbox.instance": "ktrdr--feat-x",
    "ktrdr.sandbox.uuid": "uuid-of-feat-x",
    "ktrdr.sandbox.home": "id-of-home",
}
SLOT = {"ktrdr.sandbox.slot": "2"}


def test_everything_that_compose_creates_is_labelled() -> None:
    isolation = isolated(
        {"app": {}, "asleep": {"profiles": ["x"]}},
        networks={"default": {"name": "x_default"}, "empty": None},
        volumes={"pg": {"name": "x_pg"}},
    )
    document = plain(isolation.override)
    found = {
        name: body["labels"]
        for section in ("services", "networks", "volumes")
        for name, body in document[section].items()
    }
    with_slot = ("app", "asleep", "default", "empty")
    assert found == {**dict.fromkeys(with_slot, LABELS | SLOT), "pg": LABELS}


@pytest.mark.parametrize(
    "environment",
    [
        None,
        {},
        [],
        {"INSTANCE_ID": None, "A": "1"},
        ["INSTANCE_ID=another", "A=1"],
        ["INSTANCE_ID"],
        {"INSTANCE_ID": "another"},
    ],
)
def test_every_container_knows_its_instance(environment: Any) -> None:
    isolation = isolated({"app": {"environment": environment}})
    found = plain(isolation.override["services"]["app"]["environment"])
    assert found == {
        "INSTANCE_ID": "ktrdr--feat-x",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=sandbox,instance.id=ktrdr--feat-x",
    }


@pytest.mark.parametrize(
    ("existing", "merged"),
    [
        (None, "deployment.environment=sandbox,instance.id=x"),
        ("", "deployment.environment=sandbox,instance.id=x"),
        ("a=1,b=2", "a=1,b=2,deployment.environment=sandbox,instance.id=x"),
        ("a=1,", "a=1,deployment.environment=sandbox,instance.id=x"),
        ("deployment.environment=ci", "deployment.environment=ci,instance.id=x"),
        ("deployment.environment.name=ci", "deployment.environment.name=ci,instance.id=x"),
        (
            "service.instance.id=7, instance.id=old ,b=%2C",
            "service.instance.id=7,b=%2C,deployment.environment=sandbox,instance.id=x",
        ),
    ],
)
def test_telemetry_attributes_are_added_to(existing: str | None, merged: str) -> None:
    assert resource_attributes(existing, "x") == merged


def test_container_names_are_dropped_and_stay_as_aliases() -> None:
    isolation = isolated(
        {"db": {"container_name": "ktrdr-db", "networks": {"inner": None, "outer": None}}}
    )
    service = plain(isolation.override["services"]["db"])
    assert service["container_name"] == {"!reset": None}
    assert service["networks"] == {
        "inner": {"aliases": ["ktrdr-db"]},
        "outer": {"aliases": ["ktrdr-db"]},
    }
    [change] = [change for change in isolation.changes if change.key == "container_name"]
    assert (change.service, change.before, change.after) == ("db", "ktrdr-db", "")


def test_a_name_that_is_a_services_leads_there_anyway() -> None:
    isolation = isolated(
        {"db": {"container_name": "web", "networks": ["inner"]}, "web": {"networks": ["inner"]}}
    )
    assert "networks" not in isolation.override["services"]["db"]


def test_a_container_is_called_otherwise_where_its_name_is_taken() -> None:
    """`ktrdr--feat-x-web-1` may be `web` of this instance, or `x-web` of `feat`."""
    taken = frozenset({"ktrdr--feat-x-web-1", "ktrdr--feat-x-many-1"})
    services = {"web": {"container_name": "shop"}, "many": {"scale": 2}, "other": {}}
    names = plain(isolated(services, containers=taken).override["services"])
    assert names["web"]["container_name"] == "ktrdr--feat-x.web"
    assert "container_name" not in {**names["many"], **names["other"]}
