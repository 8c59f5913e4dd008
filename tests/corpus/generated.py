"""Compose files nobody thought of: models in which every rule may meet every other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SERVICES = (
    *("a-b", "a_b", "a.b"),  # one variable name, unless told apart
    *("api", "backend", "db", "frontend", "grafana", "jaeger", "prometheus", "web"),
    *("backtest-worker-1", "training-worker", "worker"),
)
IMAGES = ("nginx", "postgres:16", "app", "app:latest", "localhost:5000/team/app:dev", "a/b:1")
TARGETS = (53, 80, 3000, 4317, 4318, 5003, 5005, 5432, 8000, 9090, 16686)
NAMED_VOLUMES = ("alpha", "beta", "gamma")
NETWORKS = ("default", "inner", "outer")
ROOT = "{root}"
PARENT = "{parent}"
SOURCES = (
    f"{ROOT}/data",
    f"{ROOT}/data/part",
    f"{ROOT}/logs",
    f"{ROOT}",
    f"{PARENT}/config",
    f"{PARENT}",
)
"""Host paths with the place of the checkout left open."""

published = st.one_of(
    st.none(), st.integers(1000, 9999).map(str), st.just("7000-7003"), st.just("20100")
)
host_ips = st.sampled_from([None, "127.0.0.1", "0.0.0.0", "::1"])


@st.composite
def ports(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {
        "mode": "ingress",
        "target": draw(st.sampled_from(TARGETS)),
        "protocol": draw(st.sampled_from(["tcp", "udp"])),
    }
    optional = {"published": draw(published), "host_ip": draw(host_ips)}
    return {**body, **{key: value for key, value in optional.items() if value is not None}}


@st.composite
def mounts(draw: st.DrawFn) -> list[dict[str, Any]]:
    binds = draw(st.lists(st.sampled_from(SOURCES), max_size=3))
    named = draw(st.lists(st.sampled_from(NAMED_VOLUMES), max_size=2))
    kinds = [*(("bind", source) for source in binds), *(("volume", source) for source in named)]
    return [
        {"type": kind, "source": source, "target": f"/mount/{number}"}
        for number, (kind, source) in enumerate(kinds)
    ]


@st.composite
def attachments(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NETWORKS), min_size=1, unique=True))
    addresses = st.sampled_from([None, {"ipv4_address": "172.28.0.9", "aliases": ["www"]}])
    return {name: draw(addresses) for name in names}


@st.composite
def services(draw: st.DrawFn, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "image": draw(st.sampled_from(IMAGES)),
        "ports": draw(st.lists(ports(), max_size=4, unique_by=repr)),
        "volumes": draw(mounts()),
        "networks": draw(attachments()),
        "environment": draw(st.sampled_from([{}, {"INSTANCE_ID": "x", "A": None, "B": "$$"}])),
        "labels": draw(st.sampled_from([{}, {"ktrdr.sandbox.uuid": "forged"}])),
    }
    if draw(st.booleans()):
        body["build"] = {
            "context": draw(st.sampled_from([ROOT, PARENT])),
            "dockerfile": "Dockerfile",
            "tags": draw(st.sampled_from([[], ["extra:tag"]])),
        }
    # Compose itself refuses a fixed name for more than one container
    body.update(draw(st.sampled_from([{}, {"container_name": f"my-{name}"}, {"scale": 3}])))
    if draw(st.integers(0, 4)) == 0:
        body["profiles"] = ["tools"]
    return body


resources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"name": "fixed"}, {"external": True, "name": "somewhere"}, {"labels": {"a": "1"}}]
)
subnets: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"ipam": {"config": [{"subnet": "172.28.0.0/16"}]}}]
)


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(resources)
    return body if body.get("external") else {**body, **draw(subnets)}


@st.composite
def compose_files(draw: st.DrawFn) -> dict[str, Any]:
    """A whole Compose file, with `{root}` and `{parent}` where its host paths begin."""
    names = draw(st.lists(st.sampled_from(SERVICES), min_size=1, max_size=8, unique=True))
    return {
        "services": {name: draw(services(name)) for name in sorted(names)},
        "volumes": {name: draw(resources) for name in NAMED_VOLUMES},
        "networks": {name: draw(networks()) for name in NETWORKS},
    }


def placed(node: Any, *, root: str, parent: str) -> Any:
    """The file with its host paths filled in."""
    if isinstance(node, dict):
        return {key: placed(value, root=root, parent=parent) for key, value in node.items()}
    if isinstance(node, list):
        return [placed(value, root=root, parent=parent) for value in node]
    if isinstance(node, str):
        return node.replace(ROOT, root).replace(PARENT, parent)
    return node
