from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktrdr_sandbox.docker.environment import current_address, flags
from ktrdr_sandbox.models import EngineAddress

SOCKET = EngineAddress(host="unix:///var/run/docker.sock")


def configured(folder: Path, document: object) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))
    return {"DOCKER_CONFIG": str(folder)}


def test_nothing_said_is_the_platforms_socket(tmp_path: Path) -> None:
    assert current_address({}) == SOCKET
    assert current_address({"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}) == SOCKET
    assert current_address({"DOCKER_CONFIG": str(tmp_path / "none")}) == SOCKET


def test_a_configured_context(tmp_path: Path) -> None:
    environment = configured(tmp_path, {"currentContext": "colima"})
    assert current_address(environment) == EngineAddress(context="colima")


def test_the_usual_place_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(Path.home() / ".docker", {"currentContext": "colima"})
    assert current_address({}) == EngineAddress(context="colima")


def test_the_order_is_dockers_own(tmp_path: Path) -> None:
    environment = configured(tmp_path, {"currentContext": "colima"})
    environment["DOCKER_CONTEXT"] = "remote"
    assert current_address(environment) == EngineAddress(context="remote")
    environment["DOCKER_HOST"] = "ssh://me@host"
    assert current_address(environment) == EngineAddress(host="ssh://me@host")


def test_the_default_context_is_kept_as_its_endpoint(tmp_path: Path) -> None:
    assert current_address({"DOCKER_CONTEXT": "default"}) == SOCKET
    assert current_address(configured(tmp_path, {"currentContext": "default"})) == SOCKET


def test_certificates_go_with_a_host() -> None:
    environment = {
        "DOCKER_HOST": "tcp://h:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/certs",
    }
    assert current_address(environment) == EngineAddress(
        host="tcp://h:2376", tls_verify=True, cert_path="/certs"
    )
    assert current_address({k: v for k, v in environment.items() if k != "DOCKER_HOST"}) == SOCKET


@pytest.mark.parametrize("document", [[], "text", {"currentContext": 3}, {}])
def test_an_odd_configuration_says_nothing(tmp_path: Path, document: object) -> None:
    assert current_address(configured(tmp_path, document)) == SOCKET


def test_flags_name_the_engine() -> None:
    assert flags(EngineAddress(context="colima")) == ["--context", "colima"]
    assert flags(EngineAddress(host="tcp://h:1")) == ["--host", "tcp://h:1"]
    assert flags(EngineAddress()) == ["--host", "unix:///var/run/docker.sock"]
