from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktrdr_sandbox.engine.address import PLATFORM_SOCKET, current_address, flags
from ktrdr_sandbox.models import EngineAddress


def configured(folder: Path, context: object) -> dict[str, str]:
    text = json.dumps({"currentContext": context})
    (folder / "config.json").write_text(text, encoding="utf-8")
    return {"DOCKER_CONFIG": str(folder)}


def test_a_host_beats_all_and_keeps_its_tls(tmp_path: Path) -> None:
    environment = {
        **configured(tmp_path, "work"),
        "DOCKER_CONTEXT": "play",
        "DOCKER_HOST": "tcp://far:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/certs",
    }
    address = current_address(environment)
    assert address == EngineAddress(host="tcp://far:2376", tls_verify=True, cert_path="/certs")
    assert flags(address) == ["--host", "tcp://far:2376"]


def test_a_context_variable_beats_the_configured_one(tmp_path: Path) -> None:
    environment = {**configured(tmp_path, "work"), "DOCKER_CONTEXT": "play"}
    assert current_address(environment) == EngineAddress(context="play")


def test_the_configured_context(tmp_path: Path) -> None:
    address = current_address(configured(tmp_path, "work"))
    assert flags(address) == ["--context", "work"]


@pytest.mark.parametrize("context", ["default", "", None, 7])
def test_the_default_context_is_its_endpoint(tmp_path: Path, context: object) -> None:
    # By name it would follow DOCKER_HOST of whatever shell comes later.
    assert current_address(configured(tmp_path, context)) == EngineAddress(host=PLATFORM_SOCKET)


def test_without_any_configuration(tmp_path: Path) -> None:
    address = current_address({"DOCKER_CONFIG": str(tmp_path / "nothing")})
    assert flags(address) == ["--host", PLATFORM_SOCKET]
