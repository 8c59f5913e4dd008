"""The content of `.env.sandbox`: the architecture document's schema, plus what this program adds.

Each value must read the same in four readers: `docker compose --env-file`, `sh`'s `. file`,
`make include` and python-dotenv. No quoting exists that all four share, so a value with a
character outside the safe set is left out of the file; such values (only paths can be) reach
Compose through its environment instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ktrdr_sandbox.models import Instance

SANDBOX_VERSION: Final = "1"
_SAFE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


def is_portable(value: str) -> bool:
    """Whether all four readers take the bare value as it stands."""
    return _SAFE.fullmatch(value) is not None


def sections(
    instance: Instance,
    *,
    ports: Mapping[str, int],
    extra: Mapping[str, str],
    paths: Mapping[str, str],
) -> list[tuple[str, dict[str, str]]]:
    """The file's sections in order. `ports` is the slot's port map; `extra` further port
    variables; `paths` the shared folders."""
    return [
        ("Instance Identity", _identity(instance)),
        ("Ports (derived from slot)", {**_ports(ports), **extra}),
        ("Database", _database(instance, ports)),
        (
            "Workers",
            {
                "USE_STUB_WORKERS": "false",
                "WORKER_COUNT_BACKTEST": "2",
                "WORKER_COUNT_TRAINING": "2",
            },
        ),
        ("Observability", {"OTLP_ENDPOINT": "http://jaeger:4317"}),
        ("Shared data", {key: value for key, value in paths.items() if is_portable(value)}),
        (
            "Metadata",
            {
                "CREATED_AT": instance.created_at,
                "SANDBOX_VERSION": SANDBOX_VERSION,
                "SANDBOX_UUID": instance.uuid,
                "CREATED_BY": instance.created_by,
            },
        ),
    ]


def slot_values(instance: Instance, *, ports: Mapping[str, int]) -> dict[str, str]:
    """The values of the file that follow from the slot alone."""
    return {"SLOT_NUMBER": str(instance.slot), **_ports(ports), "DB_PORT": str(ports["db"])}


def _identity(instance: Instance) -> dict[str, str]:
    return {
        "INSTANCE_ID": instance.id,
        "COMPOSE_PROJECT_NAME": instance.id,
        "SLOT_NUMBER": str(instance.slot),
    }


def _ports(ports: Mapping[str, int]) -> dict[str, str]:
    names = {
        "KTRDR_API_PORT": "backend",
        "KTRDR_DB_PORT": "db",
        "KTRDR_GRAFANA_PORT": "grafana",
        "KTRDR_JAEGER_UI_PORT": "jaeger_ui",
        "KTRDR_JAEGER_OTLP_PORT": "jaeger_otlp",
        "KTRDR_PROMETHEUS_PORT": "prometheus",
        "KTRDR_WORKER_BASE_PORT": "worker_base",
    }
    return {variable: str(ports[role]) for variable, role in names.items()}


def _database(instance: Instance, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "DB_HOST": "localhost",
        "DB_PORT": str(ports["db"]),
        "DB_NAME": "ktrdr",
        "DB_USER": "ktrdr",
        # Expanded here: of the four readers only the shell and Compose would expand a reference.
        "DB_PASSWORD": f"sandbox-{instance.id}",
    }
