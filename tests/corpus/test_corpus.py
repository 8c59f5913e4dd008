"""Any Compose file runs beside itself: over the files of this corpus, one trap each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_UUID
from tests.corpus.worlds import (
    CASES,
    EXISTING_NETWORKS,
    Resolved,
    World,
    bind_sources,
    claims,
    claims_of,
    host_port_list,
)

pytestmark = pytest.mark.engine

ALL = sorted(CASES.iterdir())


def expected_refusals(case: Path) -> set[str]:
    """Tokens of the `# refused:` lines of a case."""
    files = case.rglob("*.yml") if case.is_dir() else [case]
    return {
        token
        for file in files
        for token in re.findall(r"^# refused: (\S+)$", file.read_text(encoding="utf-8"), re.M)
    }


@pytest.fixture(params=ALL, ids=lambda case: case.stem)
def case(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def pair(case: Path, tmp_path: Path) -> tuple[Resolved, Resolved]:
    """The case in two worktrees, in slots 1 and 2."""
    world = World(tmp_path)
    roots = [world.check_out(case, f"ktrdr--s{slot}") for slot in (1, 2)]
    one, two = (world.resolve(root, slot=slot) for slot, root in zip((1, 2), roots, strict=True))
    return one, two


def test_two_instances_share_nothing(case: Path, pair: tuple[Resolved, Resolved]) -> None:
    one, two = pair

    for resolved in pair:
        tokens = {refusal.setting for refusal in resolved.isolation.refusals}
        assert tokens == expected_refusals(case)
    assert_apart(one, two)
    for resolved in pair:
        assert_own(resolved)
        assert_as_told(resolved)


def assert_apart(one: Resolved, two: Resolved) -> None:
    """Nothing that a machine has once is in both models."""
    mine, theirs = claims(one), claims(two)
    assert not mine.host_ports & theirs.host_ports
    assert not mine.container_names & theirs.container_names
    assert not mine.volumes & theirs.volumes
    assert not mine.networks & theirs.networks
    assert not mine.images & theirs.images
    assert not mine.addresses & theirs.addresses
    both = bind_sources(one) & bind_sources(two)
    main = str(one.request.parent_checkout)
    for path in both:
        assert not f"{path}/".startswith((f"{one.root}/", f"{two.root}/", f"{main}/")), path


def assert_own(resolved: Resolved) -> None:
    """Labels everywhere, the instance's name in every container, one use of each host port."""
    ours = {
        LABEL_ID: resolved.id,
        LABEL_UUID: resolved.request.instance.uuid,
        LABEL_HOME: resolved.request.home_id,
    }
    model = resolved.model
    resources = [
        *model["services"].values(),
        *(model.get("volumes") or {}).values(),
        *(n for n in (model.get("networks") or {}).values() if not n.get("external")),
    ]
    for resource in resources:
        assert ours.items() <= resource["labels"].items()
    for service in model["services"].values():
        assert service["environment"]["INSTANCE_ID"] == resolved.id
        assert f"instance.id={resolved.id}" in service["environment"]["OTEL_RESOURCE_ATTRIBUTES"]
    ports = host_port_list(resolved)
    assert len(ports) == len(set(ports))
    external = {n["name"] for n in (model.get("networks") or {}).values() if n.get("external")}
    assert external <= EXISTING_NETWORKS


def assert_as_told(resolved: Resolved) -> None:
    """What isolation reports of ports is what Compose will publish, and each has its variable."""
    told = [(port.published, port.protocol) for port in resolved.isolation.stack.ports]
    assert sorted(told) == sorted(host_port_list(resolved))
    variables = [port.variable for port in resolved.isolation.stack.ports]
    assert len(variables) == len(set(variables))
    for name, service in resolved.model["services"].items():
        for port in service.get("ports") or []:
            assert port["host_ip"] == resolved.request.bind_address, name


def test_ports_taken_from_our_own_variables_give_the_same_ports(tmp_path: Path) -> None:
    """What `.env.sandbox` says after one `up` is what the file's variables hold at the next."""
    world = World(tmp_path)
    root = world.check_out(CASES / "ktrdr-later.yml", "ktrdr--s3")
    first = world.resolve(root, slot=3)

    world.variables = {port.variable: str(port.published) for port in first.isolation.stack.ports}
    second = world.resolve(root, slot=3)

    assert host_port_list(second) == host_port_list(first)
    assert second.isolation.env == first.isolation.env


def test_without_isolation_the_whole_stack_collides(tmp_path: Path) -> None:
    """That the claims see a collision where there is one."""
    world = World(tmp_path)
    one, two = (
        claims_of(world.resolve(world.check_out(CASES / "ktrdr-older", name), slot=slot).base, name)
        for slot, name in ((1, "ktrdr--s1"), (2, "ktrdr--s2"))
    )

    assert one.host_ports & two.host_ports
    assert one.container_names & two.container_names
    assert one.images & two.images
