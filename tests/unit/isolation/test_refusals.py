from __future__ import annotations

from typing import Any

import pytest

from tests.unit.isolation.requests import bind, isolated

REFUSED = [
    ({"network_mode": "host"}, "network_mode: host", "host-network"),
    ({"pid": "host"}, "pid: host", "host-pid"),
    ({"ipc": "host"}, "ipc: host", "host-ipc"),
    ({"uts": "host"}, "uts: host", "host-uts"),
    ({"userns_mode": "host"}, "userns_mode: host", "host-userns"),
    ({"cgroup": "host"}, "cgroup: host", "host-cgroup"),
    ({"network_mode": "container:x"}, "network_mode: container:x", "container-network"),
    ({"pid": "container:x"}, "pid: container:x", "container-pid"),
    ({"ipc": "container:x"}, "ipc: container:x", "container-ipc"),
    ({"volumes_from": ["container:x:ro"]}, "volumes_from: container:x:ro", "container-volumes"),
    ({"external_links": ["x:y"]}, "external_links: x:y", "external-links"),
]


@pytest.mark.parametrize(("body", "key", "token"), REFUSED)
def test_what_reaches_around_the_instance_is_refused(
    body: dict[str, Any], key: str, token: str
) -> None:
    [refusal] = isolated({"app": body}).refusals
    assert (refusal.service, refusal.key, refusal.setting) == ("app", key, token)
    assert refusal.reason


@pytest.mark.parametrize(("body", "key", "token"), REFUSED)
def test_what_the_settings_allow_is_mentioned(body: dict[str, Any], key: str, token: str) -> None:
    isolation = isolated({"app": body}, allow=frozenset({token}))
    assert isolation.refusals == ()
    assert [(n.service, key in n.text, token in n.text) for n in isolation.notices] == [
        ("app", True, True)
    ]


@pytest.mark.parametrize(("body", "key", "token"), REFUSED)
def test_what_is_not_started_is_not_refused(body: dict[str, Any], key: str, token: str) -> None:
    isolation = isolated({"app": {**body, "profiles": ["x"]}})
    assert isolation.refusals == ()
    assert [key in notice.text for notice in isolation.notices] == [True]


@pytest.mark.parametrize(
    "body",
    [
        {"network_mode": "none"},
        {"network_mode": "service:other"},
        {"pid": "service:other"},
        {"ipc": "shareable"},
        {"ipc": "private"},
        {"cgroup": "private"},
        {"volumes_from": ["other:ro"]},
        {"links": ["other:alias"]},
        {"hostname": "app", "domainname": "internal"},
    ],
)
def test_what_stays_inside_is_fine(body: dict[str, Any]) -> None:
    isolation = isolated({"app": body, "other": {}})
    assert isolation.refusals == ()
    assert isolation.notices == ()
    assert set(isolation.override["services"]["app"]) == {"environment", "labels"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"privileged": True}, "privileged"),
        ({"devices": [{"source": "/dev/fuse"}]}, "devices"),
        ({"gpus": [{"count": -1}]}, "devices"),
        ({"use_api_socket": True}, "socket"),
        ({"volumes": [bind("/var/run/docker.sock", "/var/run/docker.sock")]}, "socket"),
        ({"network_mode": "bridge"}, "network_mode: bridge"),
        ({"network_mode": "some-network"}, "network_mode: some-network"),
    ],
)
def test_what_weakens_isolation_is_mentioned(body: dict[str, Any], words: str) -> None:
    isolation = isolated({"app": body}, exists=lambda path: str(path) == "/var/run/docker.sock")
    assert isolation.refusals == ()
    [notice] = isolation.notices
    assert notice.service == "app"
    assert words in notice.text
