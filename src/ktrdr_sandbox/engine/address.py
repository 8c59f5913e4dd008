"""Which engine the Docker command line would use now, and the flags that pin it for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ktrdr_sandbox.models import EngineAddress

PLATFORM_SOCKET = "unix:///var/run/docker.sock"
"""Endpoint of the `default` context when DOCKER_HOST is not set (Linux and macOS)."""


def current_address(environment: Mapping[str, str]) -> EngineAddress:
    """By Docker's own order: DOCKER_HOST, DOCKER_CONTEXT, the configured context, the platform.

    Reads Docker's configuration file rather than asking the command, so that it costs no process.
    """
    host = environment.get("DOCKER_HOST")
    if host:
        return _by_host(host, environment)
    context = environment.get("DOCKER_CONTEXT") or _configured_context(environment)
    if context and context != "default":
        return EngineAddress(context=context)
    return EngineAddress(host=PLATFORM_SOCKET)


def _by_host(host: str, environment: Mapping[str, str]) -> EngineAddress:
    return EngineAddress(
        host=host,
        tls_verify=bool(environment.get("DOCKER_TLS_VERIFY")),
        cert_path=environment.get("DOCKER_CERT_PATH") or None,
    )


def _configured_context(environment: Mapping[str, str]) -> str | None:
    configured = environment.get("DOCKER_CONFIG")
    folder = Path(configured) if configured else Path.home() / ".docker"
    try:
        document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    context = document.get("currentContext") if isinstance(document, dict) else None
    return context if isinstance(context, str) else None


def flags(address: EngineAddress) -> list[str]:
    """Docker's global flags for the address; they beat DOCKER_HOST and `docker context use`."""
    if address.context:
        return ["--context", address.context]
    return ["--host", address.host or PLATFORM_SOCKET]
