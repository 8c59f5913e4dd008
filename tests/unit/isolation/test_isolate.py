from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.isolation.isolate import isolate
from tests.unit.isolation.requests import a_request, bind, isolated, port


@pytest.mark.parametrize(
    "model", [{}, {"services": None}, {"services": []}, {"services": {"web": "nginx"}}]
)
def test_what_is_no_model(model: dict[str, Any]) -> None:
    with pytest.raises(SandboxError) as caught:
        isolate(model, a_request())
    assert caught.value.code == "compose-file-invalid"


def test_the_model_is_not_changed() -> None:
    def model() -> dict[str, Any]:
        return {
            "services": {
                "web": {
                    "container_name": "x",
                    "ports": [port(80, 80)],
                    "volumes": [bind("/dev/code/ktrdr/x")],
                    "networks": {"net": {"ipv4_address": "1.2.3.4"}},
                    "build": {"context": "/dev/code/ktrdr", "tags": ["a"]},
                    "image": "a",
                }
            },
            "networks": {"net": {"ipam": {"config": [{"subnet": "1.2.3.0/24"}]}}},
            "volumes": {"v": {"external": True}},
        }

    given = model()
    isolate(given, a_request())
    assert given == model()


def test_each_change_says_where_what_and_why() -> None:
    isolation = isolated({"web": {"ports": [port(80, 8080)], "container_name": "x"}})
    found = {(c.service, c.key): (c.before, c.after) for c in isolation.changes}
    assert found[("web", "container_name")] == ("x", "")
    assert found[("web", "ports.80/tcp")] == ("0.0.0.0:8080", "127.0.0.1:20200")
    assert found[("web", "environment.INSTANCE_ID")] == ("", "ktrdr--feat-x")
    assert all(change.reason for change in isolation.changes)


def test_the_stack_as_start_up_and_gate_see_it() -> None:
    stack = isolated(
        {
            "backend": {
                "image": "app",
                "build": {"context": "."},
                "scale": 1,
                "environment": {"A": "1$$", "B": None, "C": ""},
                "depends_on": {
                    "db": {"condition": "service_healthy", "required": True},
                    "cache": {"condition": "service_started", "required": False},
                },
                "healthcheck": {"test": ["CMD", "true"]},
                "restart": "unless-stopped",
            },
            "db": {
                "image": "postgres",
                "healthcheck": {"disable": True},
                "deploy": {"replicas": 2, "restart_policy": {"condition": "on-failure"}},
            },
            "cache": {
                "image": "redis",
                "profiles": ["x"],
                "depends_on": ["db"],
                "healthcheck": {"test": ["NONE"]},
                "deploy": {"restart_policy": {}},
            },
        }
    ).stack
    backend, db, cache = (stack.service(name) for name in ("backend", "db", "cache"))
    assert backend.image == "ktrdr--feat-x/app"
    assert backend.builds
    assert backend.environment == {"A": "1$", "C": ""}
    assert backend.depends_on == {"db": "service_healthy", "cache": "service_started"}
    assert backend.optional_dependencies == {"cache"}
    assert backend.has_healthcheck
    assert (backend.restart, db.restart, cache.restart) == (
        "unless-stopped",
        "on-failure",
        "always",
    )
    assert db.replicas == 2
    assert not db.has_healthcheck
    assert not cache.has_healthcheck
    assert cache.depends_on == {"db": "service_started"}
    assert [service.name for service in stack.active] == ["backend", "db"]
