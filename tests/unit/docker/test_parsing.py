from __future__ import annotations

import json
from typing import Any

import pytest

from ktrdr_sandbox.docker.parsing import parse_container, parse_detail


def line(**changes: str) -> str:
    """A line as `docker ps` prints it in this program's format."""
    fields = {
        "id": "f" * 64,
        "name": "ktrdr--feat-x-backend-1",
        "state": "running",
        "status": "Up 2 minutes (healthy)",
        "image": "ktrdr-backend:dev",
        "project": "ktrdr--feat-x",
        "service": "backend",
        "oneoff": "False",
        "instance_id": "ktrdr--feat-x",
        "uuid": "u",
        "published": "",
    }
    return json.dumps(fields | changes)


def test_a_container_of_ours() -> None:
    found = parse_container(line(published="127.0.0.1:8002->8000/tcp"))
    assert found.id == "f" * 64
    assert found.name == "ktrdr--feat-x-backend-1"
    assert (found.state, found.status) == ("running", "Up 2 minutes (healthy)")
    assert (found.project, found.service) == ("ktrdr--feat-x", "backend")
    assert (found.instance_id, found.uuid) == ("ktrdr--feat-x", "u")
    assert found.published == (("127.0.0.1", 8002, 8000, "tcp"),)
    assert not found.oneoff


def test_a_one_off_container() -> None:
    assert parse_container(line(oneoff="True")).oneoff


def test_a_container_of_nobody() -> None:
    found = parse_container(line(project="", service="", instance_id="", uuid="", oneoff=""))
    assert (found.project, found.service, found.instance_id, found.uuid) == ("", "", "", "")


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("", ()),
        ("8000/tcp, 9000/udp", ()),
        (
            "0.0.0.0:8000->8000/tcp, :::8000->8000/tcp",
            (("0.0.0.0", 8000, 8000, "tcp"), ("::", 8000, 8000, "tcp")),
        ),
        ("[::1]:5434->5432/tcp", (("::1", 5434, 5432, "tcp"),)),
        (
            "127.0.0.1:5020-5022->5003-5005/tcp",
            (
                ("127.0.0.1", 5020, 5003, "tcp"),
                ("127.0.0.1", 5021, 5004, "tcp"),
                ("127.0.0.1", 5022, 5005, "tcp"),
            ),
        ),
        (
            "127.0.0.1:6831->6831/udp, 8000/tcp, 127.0.0.1:20200->7000/sctp",
            (("127.0.0.1", 6831, 6831, "udp"), ("127.0.0.1", 20200, 7000, "sctp")),
        ),
    ],
)
def test_published_ports(text: str, published: tuple[Any, ...]) -> None:
    assert parse_container(line(published=text)).published == published


def test_a_state_that_nobody_knows_yet_counts_as_dead() -> None:
    assert parse_container(line(state="hibernating")).state == "dead"


def entry(**state: Any) -> dict[str, Any]:
    """An element of `docker container inspect`."""
    return {
        "Id": "f" * 64,
        "Name": "/ktrdr--feat-x-worker-2",
        "RestartCount": 3,
        "State": {
            "Status": "exited",
            "ExitCode": 137,
            "OOMKilled": True,
            "Error": "no such device",
            "StartedAt": "2026-01-01T00:00:00Z",
            "FinishedAt": "2026-01-01T00:00:09Z",
            **state,
        },
        "Config": {
            "Labels": {
                "com.docker.compose.service": "worker",
                "com.docker.compose.container-number": "2",
            },
            "Env": ["A=1", "B=x=y", "C=", "NOTHING"],
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
        "HostConfig": {"Memory": 64 * 2**20},
        "NetworkSettings": {
            "Ports": {
                "5003/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5021"}],
                "9999/udp": None,
            }
        },
        "Mounts": [
            {"Type": "volume", "Name": "x_data"},
            {"Type": "bind", "Source": "/code"},
        ],
    }


def test_details() -> None:
    found = parse_detail(entry())
    assert (found.name, found.service, found.replica) == ("ktrdr--feat-x-worker-2", "worker", 2)
    assert (found.state, found.exit_code, found.oom_killed) == ("exited", 137, True)
    assert (found.restart_count, found.error) == (3, "no such device")
    assert found.environment == {"A": "1", "B": "x=y", "C": ""}
    assert found.health_test == ("CMD", "true")
    assert found.health == "none"
    assert found.published == (("127.0.0.1", 5021, 5003, "tcp"),)
    assert found.volumes == ("x_data",)
    assert found.memory_limit == 64 * 2**20


def test_the_last_health_probe() -> None:
    health = {
        "Status": "unhealthy",
        "Log": [{"Output": "first"}, {"Output": "connection refused\n"}],
    }
    found = parse_detail(entry(Health=health))
    assert (found.health, found.health_log) == ("unhealthy", "connection refused")


def test_a_health_check_that_was_disabled() -> None:
    given = entry()
    given["Config"]["Healthcheck"] = {"Test": ["NONE"]}
    assert parse_detail(given).health_test == ()


def test_a_container_that_compose_did_not_make() -> None:
    given = entry()
    given["Config"] = {"Labels": None, "Env": None}
    given["NetworkSettings"] = {"Ports": None}
    given["Mounts"] = None
    found = parse_detail(given)
    assert (found.service, found.replica, found.health_test) == ("", 1, ())
    assert (found.published, found.environment, found.volumes) == ((), {}, ())


def test_a_container_of_which_nothing_is_known() -> None:
    found = parse_detail({"Id": "1", "Name": "/x", "State": {"Status": "created"}})
    assert (found.name, found.service, found.replica, found.health) == ("x", "", 1, "none")
    assert (found.health_test, found.published, found.volumes) == ((), (), ())
    assert found.memory_limit == 0
