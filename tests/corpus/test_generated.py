"""Any Compose file runs beside itself: over generated files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.models import LABEL_UUID
from tests.corpus.generated import compose_files, placed
from tests.corpus.merging import merged, with_default_names
from tests.corpus.test_corpus import assert_apart, assert_as_told, assert_own
from tests.corpus.worlds import Claims, World, claims_of
from tests.unit.isolation.requests import PARENT, a_request, an_instance, unprofiled

FIELDS = ("host_ports", "container_names", "volumes", "networks", "images", "addresses")


def isolated_claims(file: dict[str, Any], slot: int) -> Claims:
    """What an instance of the file claims, by isolation and the rules of merging alone."""
    instance = an_instance(slot=slot, name=f"s{slot}", path=Path(f"/code/ktrdr--s{slot}"))
    base = with_default_names(
        placed(file, root=str(instance.path), parent=str(PARENT)), instance.id
    )
    isolation = isolate(base, a_request(instance, active=unprofiled(base)))
    return claims_of(merged(base, isolation.override), instance.id)


@settings(max_examples=60)
@given(file=compose_files())
def test_two_instances_share_nothing(file: dict[str, Any]) -> None:
    one, two = isolated_claims(file, 1), isolated_claims(file, 2)

    for field in FIELDS:
        assert not getattr(one, field) & getattr(two, field), field


@settings(max_examples=30)
@given(file=compose_files())
def test_every_host_port_is_given_once_and_lies_in_the_slot(file: dict[str, Any]) -> None:
    instance = an_instance(slot=7)
    base = with_default_names(file, instance.id)
    request = a_request(instance, active=unprofiled(base))

    stack = isolate(base, request).stack

    given_out = [(port.published, port.protocol) for port in stack.ports]
    assert len(given_out) == len(set(given_out))
    for port in stack.ports:
        if port.role is None:
            assert port.published in range(20700, 20800)
        elif port.role == "worker":
            assert port.published in range(5070, 5080)
        else:
            assert port.published == request.ports[port.role]


@settings(max_examples=30)
@given(file=compose_files())
def test_enabling_a_profile_moves_no_port_that_has_no_rival(file: dict[str, Any]) -> None:
    """Which services run decides who plays a contested role, and nothing else."""
    instance = an_instance()
    base = with_default_names(file, instance.id)

    without = isolate(base, a_request(instance, active=unprofiled(base)))
    with_all = isolate(base, a_request(instance, active=frozenset(base["services"])))

    if [port.role for port in without.stack.ports] == [port.role for port in with_all.stack.ports]:
        assert without.stack.ports == with_all.stack.ports


@settings(max_examples=30)
@given(file=compose_files())
def test_every_resource_carries_the_uuid(file: dict[str, Any]) -> None:
    instance = an_instance()
    base = with_default_names(file, instance.id)

    model = merged(base, isolate(base, a_request(instance)).override)

    for section in ("services", "volumes", "networks"):
        for name, body in model[section].items():
            assert body["labels"][LABEL_UUID] == instance.uuid, name


@pytest.mark.engine
@settings(max_examples=8)
@given(file=compose_files())
def test_two_instances_share_nothing_as_compose_sees_it(file: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        pair = []
        for slot in (1, 2):
            root = Path(folder) / f"ktrdr--s{slot}"
            root.mkdir()
            text = json.dumps(placed(file, root=str(root), parent=str(world.parent)))
            (root / "docker-compose.yml").write_text(text, encoding="utf-8")
            pair.append(world.resolve(root, slot=slot))

        assert_apart(*pair)
        for resolved in pair:
            assert_own(resolved)
            assert_as_told(resolved)
