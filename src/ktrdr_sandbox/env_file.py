"""Writes `.env.sandbox`, readable by its owner alone since it holds the database password."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file, temporary_name
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.paths import ENV_FILE_NAME

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


_PLAIN: Final = re.compile(r"(?:#.*|([A-Za-z_]\w*)=([A-Za-z0-9_./:@%+,=-]*)|)", re.ASCII)
"""A line as this program writes it, which nobody reads in another way."""


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
    return _parse(text)


def _parse(text: str) -> dict[str, str]:
    lines = [_PLAIN.fullmatch(line) for line in text.split("\n")]
    plain = [line for line in lines if line is not None]
    if len(plain) == len(lines):
        return {line[1]: line[2] for line in plain if line[1] is not None}
    from io import StringIO

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


_PORT_PREFIXES = ("KTRDR_WORKER_BASE_PORT=", "KTRDR_WORKER_PORT_", "KTRDR_PORT_")


def render(sections: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """The file's text: a comment line and KEY=value lines for each section that has any."""
    blocks = []
    for title, values in sections:
        if values:
            lines = [f"# {title}", *(f"{key}={value}" for key, value in values.items())]
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def write(path: Path, sections: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Replace the file at once, mode 0600. Raises `cannot-write`."""
    replace_file(path, render(sections), mode=0o600)


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
