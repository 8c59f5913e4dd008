from __future__ import annotations

import json

from ktrdr_sandbox.engine.parsing import parse_container, parse_detail

LINE = [
    "1a2b",
    "ktrdr--a-backend-1",
    "running",
    "Up 3 minutes (healthy)",
    "ktrdr--a/ktrdr-backend:dev",
    "ktrdr--a",
    "backend",
    "False",
    "ktrdr--a",
    "5ba1",
    "127.0.0.1:8001->8000/tcp, 0.0.0.0:5010-5012->5003-5005/udp, :::9000->9000/tcp, 7000/tcp",
]


def test_a_line_of_the_list() -> None:
    container = parse_container(json.dumps(LINE))
    assert (container.name, container.state, container.uuid) == (LINE[1], "running", "5ba1")
    assert not container.oneoff
    assert container.published == (
        ("127.0.0.1", 8001, 8000, "tcp"),
        ("0.0.0.0", 5010, 5003, "udp"),
        ("0.0.0.0", 5011, 5004, "udp"),
        ("0.0.0.0", 5012, 5005, "udp"),
        ("::", 9000, 9000, "tcp"),
    )


def test_a_container_that_is_not_of_compose() -> None:
    container = parse_container(json.dumps([*LINE[:5], "", "", "", "", "", ""]))
    assert (container.project, container.service, container.published) == ("", "", ())


DETAIL = {
    "Id": "1a2b",
    "Name": "/ktrdr--a-db-1",
    "RestartCount": 2,
    "State": {
        "Status": "exited",
        "ExitCode": 137,
        "OOMKilled": True,
        "Error": "",
        "StartedAt": "2024-01-15T10:30:00Z",
        "FinishedAt": "2024-01-15T10:31:00Z",
        "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "refused\n"}]},
    },
    "Config": {
        "Labels": {
            "com.docker.compose.service": "db",
            "com.docker.compose.container-number": "3",
        },
        "Env": ["A=1", "B=x=y", "EMPTY="],
        "Healthcheck": {"Test": ["CMD-SHELL", "pg_isready"]},
    },
    "NetworkSettings": {
        "Ports": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5433"}], "1/udp": None}
    },
    "Mounts": [{"Type": "volume", "Name": "ktrdr--a_postgres_data"}, {"Type": "bind"}],
}


def test_a_detail() -> None:
    detail = parse_detail(DETAIL)
    assert (detail.name, detail.service, detail.replica) == ("ktrdr--a-db-1", "db", 3)
    assert (detail.state, detail.exit_code, detail.oom_killed) == ("exited", 137, True)
    assert (detail.health, detail.health_log) == ("unhealthy", "refused")
    assert detail.health_test == ("CMD-SHELL", "pg_isready")
    assert detail.published == (("127.0.0.1", 5433, 5432, "tcp"),)
    assert detail.environment == {"A": "1", "B": "x=y", "EMPTY": ""}
    assert detail.volumes == ("ktrdr--a_postgres_data",)


def test_a_detail_with_nothing_in_it() -> None:
    detail = parse_detail({"Id": "1", "Name": "/x", "State": {"Status": "created"}})
    assert (detail.service, detail.replica, detail.health) == ("", 1, "none")
    assert (detail.health_test, detail.published, detail.volumes) == ((), (), ())


def test_a_health_check_that_is_switched_off() -> None:
    entry = {**DETAIL, "Config": {"Healthcheck": {"Test": ["NONE"]}}}
    assert parse_detail(entry).health_test == ()
