"""What exactly becomes of some of the corpus, as Compose itself resolves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.corpus.worlds import CASES, NESTED, Resolved, World, host_port_list

pytestmark = pytest.mark.engine

PACKAGED = Path(__file__).parents[2] / "compose"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def resolved(world: World, case: str, *, slot: int = 2, **changes: Any) -> Resolved:
    return world.resolve(world.check_out(CASES / case, f"ktrdr--s{slot}"), slot=slot, **changes)


def publications(found: Resolved) -> set[tuple[str, int, str]]:
    return {
        (name, port["target"], port.get("published", ""))
        for name, service in found.model["services"].items()
        for port in service.get("ports") or []
    }


def mounts(found: Resolved, service: str) -> dict[str, dict[str, Any]]:
    return {mount["target"]: mount for mount in found.model["services"][service]["volumes"]}


def test_the_whole_stack_gets_the_slots_ports(world: World) -> None:
    found = resolved(world, "ktrdr-older", slot=2)

    assert publications(found) == {
        ("backend", 8000, "8002"),
        ("db", 5432, "5434"),
        ("grafana", 3000, "3002"),
        ("jaeger", 16686, "16688"),
        ("jaeger", 4317, "4319"),
        ("jaeger", 4318, "20200"),
        ("prometheus", 9090, "9092"),
        ("backtest-worker-1", 5003, "5020"),
        ("backtest-worker-2", 5004, "5021"),
        ("training-worker-1", 5005, "5022"),
        ("training-worker-2", 5006, "5023"),
    }
    assert found.isolation.env == {
        "KTRDR_PORT_JAEGER_4318": "20200",
        "KTRDR_WORKER_PORT_1": "5020",
        "KTRDR_WORKER_PORT_2": "5021",
        "KTRDR_WORKER_PORT_3": "5022",
        "KTRDR_WORKER_PORT_4": "5023",
    }


def test_the_whole_stack_is_known_to_start_up_and_gate(world: World) -> None:
    stack = resolved(world, "ktrdr-older").isolation.stack

    assert [service.name for service in stack.with_role("worker")] == [
        "backtest-worker-1",
        "backtest-worker-2",
        "training-worker-1",
        "training-worker-2",
    ]
    assert [service.worker_type for service in stack.with_role("worker")] == [
        "backtesting",
        "backtesting",
        "training",
        "training",
    ]
    assert stack.service("jaeger").roles == {"jaeger_ui", "jaeger_otlp"}
    assert stack.service("mcp-local").roles == frozenset()
    assert stack.service("backend").depends_on == {
        "db": "service_healthy",
        "jaeger": "service_healthy",
    }
    assert stack.service("backend").image == "ktrdr--s2/ktrdr-backend:dev"
    assert stack.service("db").environment["POSTGRES_PASSWORD"] == "localdev"


def test_a_worker_is_known_by_what_the_later_form_says_of_it(world: World) -> None:
    stack = resolved(world, "ktrdr-later.yml").isolation.stack

    assert {service.name: service.worker_type for service in stack.with_role("worker")} == {
        "backtest-worker-1": "backtesting",
        "training-worker-1": "training",
    }


def test_a_debugger_on_a_workers_port_gets_an_extra_port(world: World) -> None:
    found = resolved(world, "workers-of-others.yml")

    assert publications(found) == {
        ("api", 8000, "8002"),
        ("orders", 5005, "20200"),
        ("orders", 8080, "20201"),
    }
    assert [one.name for one in found.isolation.stack.with_role("worker")] == ["celery-worker"]
    assert not found.isolation.stack.has_ktrdr_workers


def test_what_a_provider_stands_for_has_no_container(world: World) -> None:
    stack = resolved(world, "provider.yml").isolation.stack

    assert [service.name for service in stack.startable] == ["app"]


def test_climbing_binds_of_the_whole_stack_come_home(world: World) -> None:
    found = resolved(world, "ktrdr-older")

    assert mounts(found, "mcp-local")["/mcp"]["source"] == f"{found.root}/mcp"
    assert mounts(found, "mcp-local")["/mcp/ktrdr"]["source"] == f"{found.root}/ktrdr"


def test_nothing_of_an_external_stack_is_touched(world: World) -> None:
    found = resolved(world, "ktrdr-later.yml", networks=frozenset({"devops-ai-observability"}))

    joined = found.model["networks"]["observability"]
    assert joined == {"name": "devops-ai-observability", "ipam": {}, "external": True}
    assert found.model["volumes"]["shared_cache"]["name"] == "ktrdr--s2_shared_cache"
    assert "external" not in found.model["volumes"]["shared_cache"]


def test_a_proxy_finds_routes_on_an_external_network(world: World) -> None:
    names, routes = (
        notice.text
        for notice in resolved(world, "network-external-routes.yml").isolation.notices
        if "existing-network" in notice.text and "the name app" not in notice.text
    )

    assert names.endswith("with app, web; having several containers, app can be called by name")
    assert "finds its traefik labels here and in the main environment" in routes


def test_old_container_names_stay_beside_other_aliases(world: World) -> None:
    networks = resolved(world, "network-priorities.yml").model["services"]["web"]["networks"]

    assert networks["front"]["aliases"] == ["www", "shop-web"]
    assert networks["front"]["priority"] == 10
    assert networks["back"] == {"interface_name": "eth9", "aliases": ["shop-web"]}


def test_a_range_of_the_file_gives_every_container_port_its_own(world: World) -> None:
    found = resolved(world, "port-range.yml")

    assert publications(found) == {("sip", 8000, "8002")} | {
        ("sip", target, str(20200 + target - 8001)) for target in range(8001, 8011)
    }


def test_replicas_share_a_range(world: World) -> None:
    found = resolved(world, "replicas-with-range.yml")

    assert publications(found) == {
        ("backtest-worker", 5003, "5020-5021"),
        ("training-worker", 5003, "5022-5023"),
    }


def test_ephemeral_ports_stay_so_save_those_of_the_port_map(world: World) -> None:
    assert publications(resolved(world, "port-ephemeral.yml")) == {
        ("api", 8000, "8002"),
        ("web", 80, ""),
    }


def test_port_details_stay(world: World) -> None:
    [port] = resolved(world, "port-long.yml").model["services"]["web"]["ports"]

    assert port == {
        "name": "web",
        "mode": "ingress",
        "host_ip": "127.0.0.1",
        "target": 80,
        "published": "20200",
        "protocol": "tcp",
        "app_protocol": "http",
    }


def test_ports_on_two_addresses_become_one(world: World) -> None:
    assert host_port_list(resolved(world, "port-host-ip-v6.yml")) == [(20200, "tcp")]


def test_expose_stays(world: World) -> None:
    assert resolved(world, "expose.yml").model["services"]["web"]["expose"] == ["80", "443"]


def test_bind_options_stay(world: World) -> None:
    found = resolved(world, "bind-options.yml")

    data = mounts(found, "app")["/app/data"]
    assert data.pop("source") == str(world.shared["data"])
    assert data == {
        "type": "bind",
        "target": "/app/data",
        "read_only": True,
        "consistency": "cached",
        "bind": {"propagation": "rslave", "selinux": "z"},
    }
    assert mounts(found, "app")["/app/models"]["read_only"] is True
    assert mounts(found, "app")["/app/models"]["bind"] == {"selinux": "z"}


def test_targets_with_a_slash_at_the_end_are_replaced_too(world: World) -> None:
    found = resolved(world, "bind-trailing-slash.yml")

    assert {target: mount["source"] for target, mount in mounts(found, "app").items()} == {
        "/app/data": str(world.shared["data"]),
        "/app/models": str(world.shared["models"]),
    }


def test_folders_of_the_host_stay(world: World) -> None:
    found = resolved(world, "bind-system.yml")

    assert (
        found.model["services"]["monitor"]["volumes"]
        == (found.base["services"]["monitor"]["volumes"])
    )


def test_dollar_signs_of_the_file_stay(world: World) -> None:
    found = resolved(world, "bind-dollar.yml")

    assert mounts(found, "app")["/x"]["source"] == f"{found.root}/a$$b"
    assert mounts(found, "app")["/y"]["source"] == f"{world.shared['data']}/c$$d"


def test_telemetry_attributes_stay(world: World) -> None:
    services = resolved(world, "environment-otel.yml").model["services"]

    key = "OTEL_RESOURCE_ATTRIBUTES"
    ours = "instance.id=ktrdr--s2"
    assert services["list"]["environment"][key] == (
        f"service.name=api,team=a$$b,deployment.environment=sandbox,{ours}"
    )
    assert services["map"]["environment"][key] == f"deployment.environment=test,{ours}"
    assert services["passed"]["environment"][key] == f"deployment.environment=sandbox,{ours}"


def test_other_variables_stay(world: World) -> None:
    found = resolved(world, "environment-forms.yml")

    environment = found.model["services"]["list"]["environment"]
    environment.pop("OTEL_RESOURCE_ATTRIBUTES")
    assert environment == {"A": "1", "B": None, "C": "x=y", "D": "", "INSTANCE_ID": "ktrdr--s2"}


def test_an_instance_id_from_a_file_is_not_ours(world: World) -> None:
    environment = resolved(world, "environment-file").model["services"]["app"]["environment"]

    assert environment["INSTANCE_ID"] == "ktrdr--s2"
    assert environment["PRICE"] == "5$$"


def test_forged_labels_are_replaced_and_others_stay(world: World) -> None:
    model = resolved(world, "labels-forms.yml").model

    assert model["services"]["list"]["labels"]["ktrdr.sandbox.uuid"] == "uuid-2"
    assert model["services"]["list"]["labels"]["a"] == "1"
    assert model["services"]["map"]["deploy"]["labels"] == {"b": "2"}
    assert model["volumes"]["v1"]["labels"]["c"] == "3"
    assert model["networks"]["default"]["labels"]["d"] == "4"


def test_limits_and_settings_stay(world: World) -> None:
    found = resolved(world, "tmpfs-and-limits.yml")

    after = found.model["services"]["app"]
    ours = ("labels", "environment")
    assert {key: value for key, value in after.items() if key not in ours} == (
        found.base["services"]["app"]
    )


def test_awkward_values_stay(world: World) -> None:
    found = resolved(world, "odd-values.yml")

    before, after = found.base["services"]["on"], found.model["services"]["on"]
    assert after["command"] == before["command"]
    assert after["environment"].items() >= before["environment"].items()


def test_two_keys_of_one_volume_stay_one_volume(world: World) -> None:
    volumes = resolved(world, "volume-two-keys-one-name.yml").model["volumes"]

    assert volumes["in"]["name"] == volumes["out"]["name"]


def test_devices_of_volumes_come_home(world: World) -> None:
    found = resolved(world, "volume-device.yml")

    options = {key: body["driver_opts"] for key, body in found.model["volumes"].items()}
    assert options["site"]["device"] == f"{found.root}/site"
    assert options["store"]["device"] == str(world.shared["data"])
    assert options["store"]["type"] == "none"


def misleading(found: Resolved) -> list[str]:
    """What is said of values that name an address."""
    texts = [f"{notice.service}: {notice.text}" for notice in found.isolation.notices]
    return [text for text in texts if "the host's port" in text or "fixed address" in text]


def test_values_that_lead_elsewhere_are_told(world: World) -> None:
    ports, addresses = misleading(resolved(world, "addresses-in-values.yml"))

    assert ports == (
        "web: environment.API_URL and build.args.API name the host's port 8000, which leads to the "
        "main environment; here, api is on 8002: ${KTRDR_API_PORT:-8000} is right in both; "
        "logging.options.syslog-address names the host's port 5140, which leads to the main "
        "environment; here, logs is on 20200: ${KTRDR_PORT_LOGS_514_UDP:-5140} is right in both"
    )
    assert addresses == (
        "web: extra_hosts.legacydb names 172.28.0.2, the fixed address of db, which has another "
        "one here and is found by its name alone"
    )


@pytest.mark.parametrize(
    "file",
    [
        PACKAGED / "docker-compose.yml",
        PACKAGED / "sample" / NESTED,
        CASES / "ktrdr-older" / NESTED,
        CASES / "ktrdr-later.yml",
    ],
)
def test_no_value_of_ktrdr_leads_elsewhere(world: World, file: Path) -> None:
    assert misleading(world.resolve(world.check_out(file, "ktrdr--s2"), slot=2)) == []


def test_subnets_come_from_the_pool(world: World) -> None:
    found = resolved(world, "network-static-address.yml", network_pool="10.201.0.0/16")

    network = found.model["networks"]["inner"]
    assert network["ipam"] == {"config": [{"subnet": "10.201.32.0/26"}]}
    assert found.model["services"]["web"]["networks"]["inner"] == {"aliases": ["www"]}


def test_other_driver_options_of_a_bridge_stay(world: World) -> None:
    network = resolved(world, "network-bridge-name.yml").model["networks"]["inner"]

    assert network["driver_opts"] == {"com.docker.network.bridge.enable_icc": "true"}


def test_an_image_is_followed_by_all_who_use_it(world: World) -> None:
    services = resolved(world, "image-user.yml").model["services"]

    assert services["builder"]["image"] == "ktrdr--s2/app:latest"
    assert services["runner"]["image"] == "ktrdr--s2/app:latest"
    assert services["runner"]["pull_policy"] == "never"
    assert services["mounter"]["volumes"][0]["source"] == "ktrdr--s2/app:latest"


def test_registries_become_part_of_the_name(world: World) -> None:
    services = resolved(world, "image-registry-port.yml").model["services"]

    assert services["web"]["image"] == "ktrdr--s2/localhost__5000/team/project/web:1.2"
    assert services["api"]["image"] == "ktrdr--s2/registry.example.com/team/api"


def test_builds_read_and_write_their_own(world: World) -> None:
    contexts = resolved(world, "image-additional-contexts.yml")
    build = contexts.model["services"]["web"]["build"]["additional_contexts"]
    assert build == {
        "base": "docker-image://ktrdr--s2/base:dev",
        "docs": f"{contexts.root}/docs",
        "upstream": "https://example.com/upstream.git",
    }


def test_builds_start_from_their_own_images(world: World) -> None:
    services = resolved(world, "image-build-arguments.yml").model["services"]

    assert services["tools"]["image"] == "ktrdr--s2/tools"
    assert services["app"]["build"]["args"] == {
        "BASE": "ktrdr--s2/shop/base:dev",
        "TOOLS_IMAGE": "ktrdr--s2/tools",
        "FOLDER": "base",
    }


def test_what_only_another_profile_builds_is_pulled(world: World) -> None:
    found = resolved(world, "image-builder-in-a-profile.yml")

    assert found.model["services"]["app"] == {
        **found.base["services"]["app"],
        "environment": found.model["services"]["app"]["environment"],
        "labels": found.model["services"]["app"]["labels"],
    }
    assert found.model["services"]["builder"]["image"] == "ktrdr--s2/ghcr.io/org/app:1"


def test_a_cache_that_others_write_is_dropped(world: World) -> None:
    build = resolved(world, "image-cache.yml").model["services"]["web"]["build"]

    assert "cache_to" not in build
    assert build["cache_from"] == ["web:cache"]


def test_files_of_the_main_checkout_come_home(world: World) -> None:
    found = resolved(world, "secrets-and-configs.yml")

    assert found.model["secrets"]["token"]["file"] == f"{found.root}/token.txt"
    assert found.model["secrets"]["other"]["file"] == f"{found.root}/secrets/other"
    assert found.model["configs"]["settings"]["file"] == f"{found.root}/data/settings.yml"
    assert found.model["configs"]["inline"]["content"] == "price: $$5\non: yes\n"


def test_watched_folders_come_home(world: World) -> None:
    found = resolved(world, "develop-watch.yml")

    watch = found.model["services"]["app"]["develop"]["watch"]
    assert [entry["path"] for entry in watch] == [f"{found.root}/src", f"{found.root}/lib"]
    assert watch[0]["ignore"] == ["*.md"]


@pytest.mark.parametrize("case", ["build-context-parent.yml", "build-context-climbing"])
def test_build_contexts_come_home(world: World, case: str) -> None:
    found = resolved(world, case)

    assert found.model["services"]["app"]["build"]["context"] == found.root


def test_a_container_of_the_same_file_is_a_service(world: World) -> None:
    torrent = resolved(world, "container-name-network-mode.yml").model["services"]["torrent"]
    assert torrent["network_mode"] == "service:vpn"
    assert torrent["pid"] == "service:vpn"


def test_volumes_of_a_container_of_the_same_file(world: World) -> None:
    reader = resolved(world, "container-name-volumes-from.yml").model["services"]["reader"]

    assert reader["volumes_from"] == ["store:ro"]


def test_all_files_of_a_checkout_count(world: World) -> None:
    found = resolved(world, "two-files")

    assert publications(found) == {("web", 80, "20200"), ("web", 443, "20201")}
    assert found.model["services"]["web"]["environment"]["DEBUG"] == "1"
