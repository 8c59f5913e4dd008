"""The environment given to Docker and Compose: built, not inherited.

Product contract, section 4: `COMPOSE_*` dropped, each key of `.env.sandbox` set from the file, the
rest passed on. What selects an engine is dropped too, since the instance's own address decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ktrdr_sandbox.models import EngineAddress

_ENGINE_VARIABLES: Final = frozenset(
    {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_TLS"}
)
_OWN_PREFIXES: Final = ("KTRDR_WORKER_PORT_", "KTRDR_PORT_")
_OWN: Final = frozenset({"KTRDR_API_URL"})
"""Variables of another sandbox that this one's file need not name, so they could seep through."""


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
    environment = {key: value for key, value in inherited.items() if _passes(key)}
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
    return tuple(key for key in inherited if not _passes(key) and key not in _ENGINE_VARIABLES)


def _passes(key: str) -> bool:
    if key.startswith("COMPOSE_") or key in _ENGINE_VARIABLES:
        return False
    return key not in _OWN and not key.startswith(_OWN_PREFIXES)
