"""The secrets that are known of an instance, so that none of them shows in a log line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import env_file
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.result import CheckResult, GateResult
from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.redaction import Redactor, redactor_of

_LARGEST: Final = 65536
"""Bytes of a secret's file that are read; what is larger is no password."""


def redactor_for(
    instance: Instance,
    environment: Mapping[str, str],
    model: Mapping[str, Any],
    described: Sequence[Mapping[str, Any]] = (),
) -> Redactor:
    """One that knows the secrets of the shell, of the checkout's environment files, of the resolved
    Compose model, and of containers as the engine describes them."""
    services: Mapping[str, Any] = model.get("services") or {}
    return redactor_of(
        environment,
        *(_of_file(path) for path in (instance.path / ".env", instance.env_file)),
        *(variables for body in services.values() for variables in _of_service(body)),
        _of_secret_files(model),
        *(_with_values((one.get("Config") or {}).get("Env")) for one in described),
        public=(instance.id, instance.name, *services),
    )


def hide_in_gate(gate: GateResult, redactor: Redactor) -> GateResult:
    """The same report without a known secret in its facts and log lines."""

    def hidden(check: CheckResult) -> CheckResult:
        return replace(
            check,
            facts=tuple(redactor.text(fact) for fact in check.facts),
            logs=tuple(
                replace(log, lines=tuple(redactor.text(line) for line in log.lines))
                for log in check.logs
            ),
        )

    return replace(gate, checks=tuple(hidden(check) for check in gate.checks))


def _of_service(body: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    build = body.get("build")
    sources = (body.get("environment"), build.get("args") if isinstance(build, Mapping) else None)
    for source in sources:
        yield {key: compose.unescape(value) for key, value in _with_values(source).items()}


def _with_values(entries: Any) -> dict[str, str]:
    return {key: value for key, value in compose.pairs(entries).items() if value is not None}


def _of_file(path: Path) -> dict[str, str]:
    try:
        return env_file.read(path) if path.is_file() else {}
    except SandboxError:
        return {}


def _of_secret_files(model: Mapping[str, Any]) -> dict[str, str]:
    """What the files of Compose's `secrets:` hold, under names that say so."""
    found = {}
    for name, body in (model.get("secrets") or {}).items():
        path = Path(compose.unescape(str((body or {}).get("file") or "")))
        try:
            if path.is_file() and path.stat().st_size <= _LARGEST:
                found[f"{name}_SECRET"] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return found
