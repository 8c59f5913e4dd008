from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.networks import pool_subnets, private_ipv6
from ktrdr_sandbox.isolation.request import IsolatedStack
from tests.unit.isolation.requests import a_request, isolated, plain, unprofiled

ID = "ktrdr--feat-x"


def network(isolation: IsolatedStack, key: str = "net") -> dict[str, Any]:
    body = plain(isolation.override.get("networks", {}).get(key, {}))
    body.pop("labels", None)
    found: dict[str, Any] = body
    return found


def with_network(body: dict[str, Any], **changes: Any) -> IsolatedStack:
    services = {"web": {"networks": {"net": changes.pop("attachment", None)}}}
    return isolated(services, networks={"net": body}, **changes)


RESET = {"!reset": None}


def test_a_fixed_name_becomes_the_instances_own() -> None:
    assert network(with_network({"name": "backbone"})) == {"name": f"{ID}_net"}


def test_a_missing_external_network_is_made() -> None:
    isolation = with_network({"name": "traefik", "external": True})
    assert network(isolation) == {"external": RESET, "name": f"{ID}_net"}
    assert any("traefik does not exist" in notice.text for notice in isolation.notices)


def existing(body: dict[str, Any], **changes: Any) -> IsolatedStack:
    """Isolate on an engine that has the network."""
    services = {"web": {"container_name": "shop", "networks": {"net": {"ipv4_address": "1.2.3.4"}}}}
    model = {"services": services, "networks": {"net": body}}
    request = a_request(networks=frozenset({body["name"]}), active=unprofiled(model), **changes)
    return isolate(model, request)


def test_an_existing_external_network_is_joined_and_not_touched() -> None:
    isolation = existing({"name": "proxy", "external": True})
    assert "networks" not in isolation.override
    [notice] = [notice for notice in isolation.notices if "proxy" in notice.text]
    assert "web" in notice.text


def test_no_fixed_address_or_alias_on_a_joined_network() -> None:
    isolation = existing({"name": "proxy", "external": True})
    attached = plain(isolation.override["services"]["web"]["networks"]["net"])
    assert attached == {"ipv4_address": RESET}


def test_the_hosts_network_by_another_way_is_refused() -> None:
    isolation = existing({"name": "host", "external": True})
    assert [(r.service, r.setting) for r in isolation.refusals] == [("web", "host-network")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ipv4_address", "172.28.0.9"),
        ("ipv6_address", "2001:db8::9"),
        ("link_local_ips", ["169.254.1.1"]),
        ("mac_address", "02:42:ac:11:65:43"),
    ],
)
def test_fixed_addresses_are_dropped(key: str, value: Any) -> None:
    isolation = with_network({"name": f"{ID}_net"}, attachment={key: value, "aliases": ["www"]})
    assert plain(isolation.override["services"]["web"]["networks"]) == {"net": {key: RESET}}


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan", "host"])
def test_networks_on_the_hosts_interface_are_refused(driver: str) -> None:
    isolation = with_network({"name": f"{ID}_net", "driver": driver})
    [refusal] = isolation.refusals
    assert (refusal.service, refusal.key) == (None, f"networks.net.driver: {driver}")
    assert refusal.setting == "host-interface"


def test_slots_never_share_a_subnet() -> None:
    names = [f"net-{number}" for number in range(16)]
    for pool in ("10.0.0.0/8", "172.30.0.0/16", "192.168.0.0/20"):
        taken = [
            subnet
            for slot in range(11)
            for subnet in pool_subnets(
                pool, slot, names[: 16 if pool != "192.168.0.0/20" else 4]
            ).values()
        ]
        assert all(not one.overlaps(two) for at, one in enumerate(taken) for two in taken[at + 1 :])


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("10.0.0.0/26", "too small"),
        ("10.0.0.1/16", "host bits"),
        ("nonsense", "nonsense"),
        ("fd00::/48", "fd00"),
    ],
)
def test_a_pool_that_cannot_serve_is_refused(pool: str, words: str) -> None:
    isolation = with_network({"name": f"{ID}_net"}, network_pool=pool)
    [refusal] = isolation.refusals
    assert (refusal.service, refusal.key, refusal.setting) == (None, "network_pool", "network-pool")
    assert words in refusal.reason


@pytest.mark.parametrize("route", ["10.0.0.0/8", "10.201.32.0/24", "10.201.32.10/32"])
def test_a_subnet_that_hides_a_route_is_refused(route: str) -> None:
    isolation = with_network(
        {"name": f"{ID}_net"}, network_pool="10.201.0.0/16", host_routes=(route,)
    )
    [refusal] = isolation.refusals
    assert route in refusal.reason


@pytest.mark.parametrize(
    "route", ["0.0.0.0/0", "10.201.32.0/26", "10.201.16.0/26", "10.202.0.0/16", "fd00::/8"]
)
def test_routes_that_do_no_harm(route: str) -> None:
    """The default route, our own network of an earlier start, another slot's, strangers."""
    isolation = with_network(
        {"name": f"{ID}_net"}, network_pool="10.201.0.0/16", host_routes=(route,)
    )
    assert isolation.refusals == ()


def test_ipv6_gets_a_private_subnet_of_the_instances_own() -> None:
    body = {
        "name": f"{ID}_net",
        "enable_ipv6": True,
        "ipam": {"config": [{"subnet": "2001:db8::/64"}]},
    }
    [subnet] = network(with_network(body))["ipam"]["!override"]["config"]
    assert subnet == {"subnet": str(private_ipv6("uuid-of-feat-x", 0))}
    assert subnet["subnet"].startswith("fd")
    assert private_ipv6("uuid-of-feat-x", 0) != private_ipv6("uuid-of-feat-x", 1)
    assert private_ipv6("uuid-of-feat-x", 0) != private_ipv6("another", 0)


def linked(services: dict[str, Any], service: str) -> list[str]:
    """On an engine that has the network `proxy`; `own` is the project's."""
    networks = {"proxy": {"name": "proxy", "external": True}, "own": {"name": f"{ID}_own"}}
    model = {"services": services, "networks": networks}
    isolation = isolate(model, a_request(networks=frozenset({"proxy"}), active=unprofiled(model)))
    found: list[str] = plain(isolation.override["services"][service].get("external_links", []))
    return found


BOTH = {"own": None, "proxy": None}


def test_on_a_joined_network_names_lead_to_the_instance_s_own_containers() -> None:
    services = {
        "backend": {"networks": BOTH},
        "worker-1": {"networks": BOTH},
        "db": {"networks": {"own": {"aliases": ["database"]}}, "container_name": "ktrdr-db"},
    }
    assert linked(services, "worker-1") == [
        f"{ID}-backend-1:backend",
        f"{ID}-worker-1-1:worker-1",
        f"{ID}-db-1:db",
        f"{ID}-db-1:ktrdr-db",
        f"{ID}-db-1:database",
    ]
    assert linked(services, "db") == [], "it is on no network with others"


def test_several_containers_of_a_service_have_no_link_in_common() -> None:
    services = {
        "backend": {"networks": BOTH},
        "worker": {"networks": BOTH, "deploy": {"replicas": 2}},
    }
    networks = {"proxy": {"name": "proxy", "external": True}, "own": {"name": f"{ID}_own"}}
    model = {"services": services, "networks": networks}
    isolation = isolate(model, a_request(networks=frozenset({"proxy"}), active=unprofiled(model)))
    links = plain(isolation.override["services"]["backend"]["external_links"])
    assert links == [f"{ID}-backend-1:backend"]
    told = [notice.text for notice in isolation.notices if notice.service == "backend"]
    assert any("the name worker leads to other stacks' containers as well" in text for text in told)


def told_apart(services: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The services that go without their names on the engine's network `proxy`, with links."""
    networks = {"out": {"name": "proxy", "external": True}, "own": {"name": f"{ID}_own"}}
    model = {"services": services, "networks": networks}
    isolation = isolate(model, a_request(networks=frozenset({"proxy"}), active=unprofiled(model)))
    assert {guest.network for guest in isolation.memberships} <= {"proxy"}
    return {guest.service: guest.links for guest in isolation.memberships}


OUT = {"own": None, "out": None}
TWO = {"replicas": 2}


def test_a_joined_network_learns_no_services_name() -> None:
    found = told_apart(
        {
            "backend": {"networks": OUT},
            "edge": {"networks": {"out": {"aliases": ["www"]}}},
            "worker": {"networks": OUT, "deploy": TWO},
            "db": {"networks": {"own": None}},
        }
    )
    assert found == {
        "backend": (
            f"{ID}-backend-1:backend",
            f"{ID}-edge-1:edge",
            f"{ID}-edge-1:www",
            f"{ID}-db-1:db",
        ),
        "edge": (f"{ID}-backend-1:backend", f"{ID}-edge-1:edge", f"{ID}-edge-1:www"),
    }, "the worker's two have no link, and edge finds them on that network alone"


def joining(services: dict[str, Any]) -> list[str]:
    """What is said of the engine's network `proxy`, which is `out` in the file."""
    networks = {"out": {"name": "proxy", "external": True}, "own": {"name": f"{ID}_own"}}
    model = {"services": services, "networks": networks}
    isolation = isolate(model, a_request(networks=frozenset({"proxy"}), active=unprofiled(model)))
    return [f"{notice.service or 'file'}: {notice.text}" for notice in isolation.notices]


def test_what_is_said_of_names_follows_from_who_has_one_there() -> None:
    services = {
        "app": {"networks": OUT, "deploy": TWO},
        "edge": {"networks": {"out": None}},
        "idle": {"networks": OUT, "scale": 0},
        "web": {"networks": OUT},
    }
    assert joining(services)[0] == (
        "file: joins the external network proxy with app, edge, idle, web; what else is there "
        "finds edge, web by container names alone; having several containers, app can be called by "
        "name"
    )


TRAEFIK = {"traefik.enable": "true", "traefik.http.routers.shop.rule": "Host(`shop.test`)"}
ROUTED = (
    "on the external network proxy, a proxy that reads the Docker API finds its {} here and in the "
    "main environment, and spreads the requests over both: take them out on the branch, or have "
    "${{INSTANCE_ID:-main}} in their names and hosts"
)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"labels": TRAEFIK}, "traefik labels"),
        ({"labels": ["traefik.http.services.shop.loadbalancer.server.port=80"]}, "traefik labels"),
        ({"labels": {"traefik.tcp.routers.db.rule": "HostSNI(`*`)"}}, "traefik labels"),
        (
            {"labels": {"caddy": "shop.test", "caddy.reverse_proxy": "{{upstreams}}"}},
            "caddy labels",
        ),
        ({"labels": {"caddy_1": "shop.test"}}, "caddy labels"),
        ({"environment": {"VIRTUAL_HOST": "shop.test"}}, "VIRTUAL_HOST"),
        (
            {"environment": ["VIRTUAL_HOST=shop.test"], "labels": TRAEFIK},
            "traefik labels and VIRTUAL_HOST",
        ),
    ],
)
def test_routes_that_main_has_too_are_told(body: dict[str, Any], what: str) -> None:
    services = {"web": {"networks": {"out": None}, **body}, "db": {"networks": OUT}}
    names, routes = joining(services)
    assert names == (
        "file: joins the external network proxy with web, db; what else is there finds db by "
        "container names alone"
    )
    assert routes == f"web: {ROUTED.format(what)}"


@pytest.mark.parametrize(
    "body",
    [
        {"labels": {**TRAEFIK, "traefik.enable": "false"}},
        {"labels": {"traefik.enable": "true", "traefik.docker.network": "proxy"}},
        {"labels": {f"traefik.http.routers.{ID}.rule": f"Host(`{ID}.test`)"}},
        {"labels": {"caddy": f"{ID}.test", "caddy.reverse_proxy": "{{upstreams 80}}"}},
        {"environment": {"VIRTUAL_HOST": f"{ID}.test"}},
        {"environment": {"VIRTUAL_HOST": ""}},
        {"labels": {"org.example": "x"}},
    ],
)
def test_routes_of_the_instances_own_are_no_matter(body: dict[str, Any]) -> None:
    [text] = joining({"web": {"networks": {"out": None}, **body}})
    assert text.endswith("finds them by container names alone")
