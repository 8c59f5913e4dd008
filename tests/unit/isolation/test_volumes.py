from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.request import IsolatedStack
from tests.unit.isolation.requests import ROOT, isolated, plain

ID = "ktrdr--feat-x"
RESET = {"!reset": None}


def with_volumes(**volumes: dict[str, Any]) -> IsolatedStack:
    """Isolate on a machine where nothing is in the checkout."""
    return isolated({"web": {}}, volumes=volumes, exists=lambda path: False)


def override(isolation: IsolatedStack, key: str) -> dict[str, Any]:
    body: dict[str, Any] = plain(isolation.override["volumes"][key])
    body.pop("labels")
    return body


@pytest.mark.parametrize("body", [{"name": "pgdata"}, {"name": "ktrdr_pg"}, {}])
def test_fixed_names_become_the_instances_own(body: dict[str, Any]) -> None:
    assert override(with_volumes(pg=body), "pg") == {"name": f"{ID}_pg"}


def test_external_volumes_become_the_instances_own() -> None:
    isolation = with_volumes(pg={"name": "company", "external": True})
    assert override(isolation, "pg") == {"external": RESET, "name": f"{ID}_pg"}


def bound(device: str, **options: str) -> dict[str, Any]:
    return {
        "name": f"{ID}_v",
        "driver_opts": {"type": "none", "o": "bind", "device": device, **options},
    }


def test_a_missing_device_is_created_first() -> None:
    """The engine makes no folder for a volume: the start would fail."""
    isolation = with_volumes(v=bound(f"{ROOT}/pgdata"))
    assert [(source.path, source.own) for source in isolation.bind_sources] == [
        (ROOT / "pgdata", True)
    ]


@pytest.mark.parametrize(
    "body",
    [
        bound("/srv/files"),
        {"name": f"{ID}_v", "driver_opts": {"type": "nfs", "device": ":/export"}},
        {"name": f"{ID}_v", "driver_opts": {"type": "ext4", "device": "/dev/sdb1"}},
    ],
)
def test_a_device_for_all_is_mentioned(body: dict[str, Any]) -> None:
    isolation = with_volumes(v=body)
    assert override(isolation, "v") == {}
    assert ["every instance writes the same place" in n.text for n in isolation.notices] == [True]
