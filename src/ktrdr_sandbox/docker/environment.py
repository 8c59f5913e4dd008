"""The environment given to Docker and Compose: built, not inherited.

Product contract, section 4: `COMPOSE_*` dropped, each key of `.env.sandbox` set from the file, the
rest passed on. What selects an engine is dropped too, since the instance's own address decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ktrdr_sandbox.models import HOST_VARIABLES, EngineAddress

PLATFORM_SOCKET = "unix:///var/run/docker.sock"
"""Endpoint of the `default` context when DOCKER_HOST is not set (Linux and macOS)."""


def current_address(environment: Mapping[str, str]) -> EngineAddress:
    """By Docker's own order: DOCKER_HOST, DOCKER_CONTEXT, the configured context, the platform.

    Reads Docker's configuration file rather than asking the command, so that it costs no process.
    """
    if host := environment.get("DOCKER_HOST"):
        return EngineAddress(
            host=host,
            tls_verify=bool(environment.get("DOCKER_TLS_VERIFY")),
            cert_path=environment.get("DOCKER_CERT_PATH") or None,
        )
    context = environment.get("DOCKER_CONTEXT") or _configured_context(environment)
    if context and context != "default":
        return EngineAddress(context=context)
    return EngineAddress(host=PLATFORM_SOCKET)


def _configured_context(environment: Mapping[str, str]) -> str | None:
    folder = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
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


_ENGINE_VARIABLES: Final = frozenset(
    {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_TLS"}
)
_OTHERS: Final = ("COMPOSE_", "KTRDR_WORKER_PORT_", "KTRDR_PORT_", "KTRDR_API_URL")
"""May be another sandbox's, and this one's file need not name them, so they could seep through."""


def child_environment(
    inherited: Mapping[str, str],
    *,
    address: EngineAddress,
    file_values: Mapping[str, str] | None = None,
    paths: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The whole environment of one Docker or Compose process.

    `file_values` are those of `.env.sandbox`, `paths` the shared folders (which the file cannot
    always hold, see `env_file.schema`).
    """
    # In a shell that `run` started, these are addresses of that sandbox on this machine.
    dropped = HOST_VARIABLES if "SANDBOX_UUID" in inherited else ()
    passing = {k: v for k, v in inherited.items() if not k.startswith(_OTHERS)}
    environment = {k: v for k, v in passing.items() if k not in {*_ENGINE_VARIABLES, *dropped}}
    if address.tls_verify:
        environment["DOCKER_TLS_VERIFY"] = "1"
    if address.cert_path:
        environment["DOCKER_CERT_PATH"] = address.cert_path
    environment.update(paths or {})
    environment.update(file_values or {})
    # Also Compose's own name for the project, so that ${COMPOSE_PROJECT_NAME} in a file is right.
    return environment


def engine_variables(address: EngineAddress) -> dict[str, str]:
    """The variables by which a `docker` that somebody else starts reaches that engine."""
    if address.context:
        return {"DOCKER_CONTEXT": address.context}
    return {"DOCKER_HOST": address.host} if address.host else {}


def foreign(inherited: Mapping[str, str]) -> tuple[str, ...]:
    """Names of variables that may be another sandbox's and never reach a child as they are."""
    return tuple(key for key in inherited if key.startswith(_OTHERS))
