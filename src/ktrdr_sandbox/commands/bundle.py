"""Everything that a report of a failure needs, in one archive, and no secret in it.

Each part is taken by itself: one that cannot be had is named in the manifest with the reason, so
that an engine that does not answer still leaves an archive that says so.
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import __version__, env_file
from ktrdr_sandbox.commands.compose_project import OVERRIDE, base_call
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, create_file
from ktrdr_sandbox.gate.report import as_json, report_lines
from ktrdr_sandbox.gate.result import CheckResult, GateResult
from ktrdr_sandbox.git.git import try_git
from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.process import CommandError
from ktrdr_sandbox.redaction import Redactor, redactor_of
from ktrdr_sandbox.settings import as_data
from ktrdr_sandbox.state.registry import Registry, dump

SCHEMA: Final = "ktrdr-sandbox-bundle/1"
LOG_LINES: Final = 2000
"""Last lines taken of each container."""

LOG_CHARACTERS: Final = 2_000_000
"""And at most so many characters of them."""

_AT_ONCE: Final = 4
_LARGEST_SECRET: Final = 65536
"""Bytes of a secret's file that are read; what is larger is no password."""


@dataclass
class _Parts:
    """What was had, by the name of its file, and why what is missing could not be had.

    `model` and `described` are what the secrets are known from.
    """

    files: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    described: Sequence[Mapping[str, Any]] = ()

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Whatever the block could not do is the reason why a part is missing."""
        try:
            yield
        except SandboxError as error:
            self.missing[name] = error.message
        except (OSError, ValueError) as error:
            self.missing[name] = str(error)


def refuse_target(path: Path) -> None:
    """Find out now whether a bundle can be written there. Raises `file-exists`, `cannot-write`."""
    if path.is_dir():
        raise _unwritable(path, IsADirectoryError(21, "it is a directory"))
    if path.exists() or path.is_symlink():
        raise _exists(path)
    try:
        with tempfile.TemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def write_bundle(
    context: Context,
    instance: Instance,
    path: Path,
    *,
    gate: GateResult | None = None,
    error: SandboxError | None = None,
    logs: Mapping[str, Sequence[str]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a new `.tar.gz` with mode 0600, at once or not at all.

    `gate` and `error` are the outcome to report; `logs` further logs by name, of containers that
    are gone; `more` further files by name, as text or as data. Raises `file-exists`,
    `cannot-write`.
    """
    parts = _Parts(files={**(more or {}), **_outcome(gate, error)})
    _take_from_engine(context, instance, parts)
    _take_state(context, instance, parts)
    for name, lines in (logs or {}).items():
        parts.files[_log_name(name)] = _log(lines)
    manifest = {
        "schema": SCHEMA,
        "instance": instance.id,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": sorted(parts.files),
        "missing": parts.missing,
    }
    redactor = redactor_for(instance, context.environment, parts.model, parts.described)
    hidden = {
        name: _hidden(content, redactor)
        for name, content in {**parts.files, "manifest.json": manifest}.items()
    }
    try:
        create_file(path, _archive(f"{instance.id}-bundle", hidden), mode=0o600)
    except FileExistsError as found:
        raise _exists(path) from found
    except OSError as failure:
        raise _unwritable(path, failure) from failure
    context.tell(f"Bundle: {path}")


def offer_bundle(context: Context, instance: Instance, path: Path, **outcome: Any) -> None:
    """The same beside a failure, which is what must be told: one more is only mentioned."""
    try:
        write_bundle(context, instance, path, **outcome)
    except SandboxError as error:
        context.tell(f"There is no bundle: {error.message}")


def redactor_for(
    instance: Instance,
    environment: Mapping[str, str],
    model: Mapping[str, Any],
    described: Sequence[Mapping[str, Any]] = (),
) -> Redactor:
    """One that knows the secrets of the shell, of the checkout's environment files, of the resolved
    Compose model, and of containers as the engine describes them."""
    services: Mapping[str, Any] = model.get("services") or {}
    variables = [_of_file(path) for path in (instance.path / ".env", instance.env_file)]
    for body in services.values():
        build = body.get("build")
        arguments = build.get("args") if isinstance(build, Mapping) else None
        for source in (body.get("environment"), arguments):
            values = _with_values(source).items()
            variables.append({key: compose.unescape(value) for key, value in values})
    variables += [_with_values((one.get("Config") or {}).get("Env")) for one in described]
    return redactor_of(
        environment,
        *variables,
        _of_secret_files(model),
        public=(instance.id, instance.name, *services),
    )


def hide_in_gate(gate: GateResult, redactor: Redactor) -> GateResult:
    """The same report without a known secret in its facts and log lines."""

    def hidden(check: CheckResult) -> CheckResult:
        logs = (
            replace(log, lines=tuple(redactor.text(line) for line in log.lines))
            for log in check.logs
        )
        facts = tuple(redactor.text(fact) for fact in check.facts)
        return replace(check, facts=facts, logs=tuple(logs))

    return replace(gate, checks=tuple(hidden(check) for check in gate.checks))


def _take_from_engine(context: Context, instance: Instance, parts: _Parts) -> None:
    engine = context.engine(instance.engine)
    versions: dict[str, Any] = {}
    containers: tuple[Container, ...] = ()
    # Versions first: an engine that does not answer is asked once, for it takes its time.
    with parts.attempt("inspect.json"):
        versions = asdict(engine.versions())
        containers = engine.containers(uuid=instance.uuid)
        parts.described = engine.describe([container.id for container in containers])
        parts.files["inspect.json"] = parts.described
    parts.files["versions.json"] = {
        "ktrdr-sandbox": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "docker": versions,
    }
    with parts.attempt("version of git"):
        git_version = try_git(["--version"], cwd=instance.path).stdout.strip()
        parts.files["versions.json"]["git"] = git_version

    def read(container: Container) -> None:
        name = _log_name(container.name)
        with parts.attempt(name):
            parts.files[name] = _log(engine.logs(container.id, tail=LOG_LINES))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(read, containers))


def _take_state(context: Context, instance: Instance, parts: _Parts) -> None:
    """The files that steer the instance, and what was made of them."""
    override = context.home.state_of(instance.id) / OVERRIDE
    with parts.attempt("compose/model.json"):
        call = base_call(context, instance, context.settings(instance.path))
        parts.model = context.engine(instance.engine).compose_config(call)
        parts.files["compose/model.json"] = parts.model
        with parts.attempt("compose/with-override.json"):
            override.stat()
            whole = replace(call, files=(*call.files, override))
            effective = context.engine(instance.engine).compose_config(whole)
            parts.files["compose/with-override.json"] = effective
    parts.files["registry.json"] = dump(Registry({instance.id: instance}))["instances"]
    with parts.attempt("settings.json"):
        parts.files["settings.json"] = as_data(context.settings(instance.path))
    for name, path in ((ENV_FILE_NAME, instance.env_file), ("compose/override.yml", override)):
        with parts.attempt(name):
            parts.files[name] = path.read_text(encoding="utf-8", errors="replace")


def _outcome(gate: GateResult | None, error: SandboxError | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if gate is not None:
        found["gate.txt"] = "\n".join(report_lines(gate)) + "\n"
        found["gate.json"] = as_json(gate)
    if error is not None:
        found["error.json"] = {
            "code": error.code,
            "message": error.message,
            "hints": list(error.hints),
            "details": error.details,
        }
    if isinstance(error, CommandError):
        found["error.json"] |= {
            "argv": list(error.outcome.argv),
            "exit_code": error.outcome.exit_code,
            "stdout": error.outcome.stdout[-LOG_CHARACTERS:],
            "stderr": error.outcome.stderr[-LOG_CHARACTERS:],
        }
    return found


def _log_name(container: str) -> str:
    return f"logs/{container}.log"


def _log(lines: Sequence[str]) -> str:
    text = "\n".join(lines[-LOG_LINES:])
    return text[-LOG_CHARACTERS:] + "\n" if text else ""


def _hidden(content: Any, redactor: Redactor) -> bytes:
    """As it goes into the archive: text as it is, all else as JSON."""
    if isinstance(content, str):
        text = redactor.text(content)
    else:
        text = json.dumps(redactor.data(content), indent=2, default=str) + "\n"
    return text.encode("utf-8", "replace")


def _archive(folder: str, files: Mapping[str, bytes]) -> bytes:
    whole = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, now
            archive.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


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
            if path.is_file() and path.stat().st_size <= _LARGEST_SECRET:
                found[f"{name}_SECRET"] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _exists(path: Path) -> SandboxError:
    return SandboxError(
        "file-exists",
        f"{path} is there already, and is not overwritten.",
        hints=("Name another file, or remove that one.",),
        details={"path": str(path)},
    )


def _unwritable(path: Path, error: OSError) -> SandboxError:
    failure = cannot_write(path, error)
    failure.hints = ("Name a file in a folder that is there and that you may write to.",)
    return failure
