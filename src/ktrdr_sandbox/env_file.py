"""`.env.sandbox`: what an instance is, as seen from this machine. Only its owner may read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.paths import ENV_FILE_NAME

_SAFE: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
# A line as this program writes it, which nobody reads in another way.
_PLAIN: Final = re.compile(rf"(?:#.*|([A-Za-z_]\w*)=({_SAFE.pattern})|)", re.ASCII)

_PORT_VARIABLES: Final = {
    "KTRDR_API_PORT": "backend",
    "KTRDR_DB_PORT": "db",
    "KTRDR_GRAFANA_PORT": "grafana",
    "KTRDR_JAEGER_UI_PORT": "jaeger_ui",
    "KTRDR_JAEGER_OTLP_PORT": "jaeger_otlp",
    "KTRDR_PROMETHEUS_PORT": "prometheus",
    "KTRDR_WORKER_BASE_PORT": "worker_base",
}
_PORT_PREFIXES: Final = ("KTRDR_WORKER_BASE_PORT=", "KTRDR_WORKER_PORT_", "KTRDR_PORT_")


def is_portable(value: str) -> bool:
    """Whether all readers (this program, shell, make, Compose) take the bare value as it stands."""
    return _SAFE.fullmatch(value) is not None


def write(
    path: Path,
    instance: Instance,
    *,
    ports: Mapping[str, int],
    extra: Mapping[str, str],
    paths: Mapping[str, str],
) -> None:
    """Replace the file at once, mode 0600. Raises `cannot-write`.

    `ports` is the slot's port map; `extra` further port variables; `paths` the shared folders.
    """
    sections = {
        "Instance Identity": {
            "INSTANCE_ID": instance.id,
            "COMPOSE_PROJECT_NAME": instance.id,
            "SLOT_NUMBER": str(instance.slot),
        },
        "Ports (derived from slot)": {**_ports(ports), **extra},
        "Database": {
            "DB_HOST": "localhost",
            "DB_PORT": str(ports["db"]),
            "DB_NAME": "ktrdr",
            "DB_USER": "ktrdr",
            # Expanded: of the four readers only the shell and Compose would expand a reference.
            "DB_PASSWORD": f"sandbox-{instance.id}",
        },
        "Workers": {
            "USE_STUB_WORKERS": "false",
            "WORKER_COUNT_BACKTEST": "2",
            "WORKER_COUNT_TRAINING": "2",
        },
        "Observability": {"OTLP_ENDPOINT": "http://jaeger:4317"},
        "Shared data": {key: value for key, value in paths.items() if is_portable(value)},
        "Metadata": {
            "CREATED_AT": instance.created_at,
            "SANDBOX_VERSION": "1",
            "SANDBOX_UUID": instance.uuid,
            "CREATED_BY": instance.created_by,
        },
    }
    blocks = [
        "\n".join([f"# {title}", *(f"{key}={value}" for key, value in values.items()), ""])
        for title, values in sections.items()
        if values
    ]
    replace_file(path, "\n".join(blocks), mode=0o600)


def slot_values(instance: Instance, *, ports: Mapping[str, int]) -> dict[str, str]:
    """The values of the file that follow from the slot alone."""
    return {"SLOT_NUMBER": str(instance.slot), **_ports(ports), "DB_PORT": str(ports["db"])}


def _ports(ports: Mapping[str, int]) -> dict[str, str]:
    return {variable: str(ports[role]) for variable, role in _PORT_VARIABLES.items()}


def read(path: Path) -> dict[str, str]:
    """Values as written, nothing expanded. Raises `env-file-damaged` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxError(
            "env-file-damaged",
            f"Cannot read {path}: {error}.",
            hints=("Restore it, or destroy and create the instance again.",),
            details={"path": str(path)},
        ) from error
    lines = [_PLAIN.fullmatch(line) for line in text.split("\n")]
    if None not in lines:
        return {line[1]: line[2] for line in lines if line is not None and line[1] is not None}
    from dotenv import dotenv_values  # slow to import, and needed for a user's own lines only

    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {key: value for key, value in values.items() if value is not None}


def find(start: Path) -> Path | None:
    """The nearest `.env.sandbox` at `start` or above it, or None."""
    for folder in (start, *start.parents):
        candidate = folder / ENV_FILE_NAME
        # A link to nothing is found as well, for reading it to fail: another file, or none at all,
        # would mean another stack.
        if candidate.is_file() or candidate.is_symlink():
            return candidate
    return None


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set these keys and leave every other line as its owner wrote it. Raises `cannot-write`.

    A new key goes behind the other ports, or to the end. Nothing is written when nothing changes.
    """
    before = path.read_text(encoding="utf-8")
    missing = dict(values)
    lines = []
    for line in before.splitlines():
        key = line.partition("=")[0].strip()
        lines.append(f"{key}={missing.pop(key)}" if key in missing else line)
    ports = [i for i, line in enumerate(lines, start=1) if line.startswith(_PORT_PREFIXES)]
    at = ports[-1] if ports else len(lines)
    lines[at:at] = [f"{key}={value}" for key, value in missing.items()]
    after = "\n".join(lines) + "\n"
    if after != before:
        replace_file(path, after, mode=0o600)


def remove(path: Path, *, uuid: str) -> None:
    """Take away the file of that instance, if it is there. Raises `cannot-write`."""
    try:
        temporary_name(path).unlink(missing_ok=True)
        if path.is_file() and read(path).get("SANDBOX_UUID", uuid) == uuid:
            path.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_write(path, error) from error
