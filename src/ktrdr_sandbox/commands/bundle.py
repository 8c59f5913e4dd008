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
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import __version__, env_file
from ktrdr_sandbox.commands.compose_project import OVERRIDE, base_call
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, create_file
from ktrdr_sandbox.gate.result import CheckResult, GateResult, as_json, report_lines
from ktrdr_sandbox.git.git import try_git
from ktrdr_sandbox.isolation import model as compose
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.process import CommandError
from ktrdr_sandbox.redaction import Redactor, redactor_of
from ktrdr_sandbox.settings import as_data
from ktrdr_sandbox.state.registry import Registry, dump

SCHEMA: Final = "ktrdr-sandbox-bundle/1"
LOG_LINES: Final = 2000  # the last of each container
LOG_CHARACTERS: Final = 2_000_000  # and at most so many of them
_LARGEST_SECRET: Final = 65536  # bytes of a secret's file; what is larger is no password


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
        except (SandboxError, OSError, ValueError) as error:
            self.missing[name] = str(error)

    def add_log(self, name: str, lines: Sequence[str]) -> None:
        text = "\n".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:]
        self.files[f"logs/{name}.log"] = text + "\n" if text else ""


def refuse_target(path: Path) -> None:
    """Find out now whether a bundle can be written there. Raises `file-exists`, `cannot-write`."""
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a directory")
        if path.exists() or path.is_symlink():
            raise FileExistsError
        with tempfile.TemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        raise _refused(path, error) from error


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
        parts.add_log(name, lines)
    parts.files["manifest.json"] = {
        "schema": SCHEMA,
        "instance": instance.id,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": sorted(parts.files),
        "missing": parts.missing,
    }
    redactor = redactor_for(instance, context.environment, parts.model, parts.described)
    try:
        create_file(path, _archive(f"{instance.id}-bundle", parts.files, redactor), mode=0o600)
    except OSError as failure:
        raise _refused(path, failure) from failure
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
    variables: list[dict[str, str]] = []
    for path in (instance.path / ".env", instance.env_file):
        try:
            variables.append(env_file.read(path) if path.is_file() else {})
        except SandboxError:
            continue
    for body in services.values():
        build = body.get("build")
        arguments = build.get("args") if isinstance(build, Mapping) else None
        for source in (body.get("environment"), arguments):
            values = _with_values(source).items()
            variables.append({key: compose.unescape(value) for key, value in values})
    variables += [_with_values((one.get("Config") or {}).get("Env")) for one in described]
    public = (instance.id, instance.name, *services)
    return redactor_of(environment, *variables, _of_secret_files(model), public=public)


def _with_values(entries: Any) -> dict[str, str]:
    return {key: value for key, value in compose.pairs(entries).items() if value is not None}


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


def hide_in_gate(gate: GateResult, redactor: Redactor) -> GateResult:
    """The same report without a known secret in its facts and log lines."""

    def hidden(check: CheckResult) -> CheckResult:
        hide = redactor.text
        logs = tuple(replace(log, lines=tuple(map(hide, log.lines))) for log in check.logs)
        return replace(check, facts=tuple(map(hide, check.facts)), logs=logs)

    return replace(gate, checks=tuple(map(hidden, gate.checks)))


def _take_from_engine(context: Context, instance: Instance, parts: _Parts) -> None:
    engine = context.engine(instance.engine)
    versions: dict[str, Any] = {
        "ktrdr-sandbox": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "docker": {},
    }
    parts.files["versions.json"] = versions
    with parts.attempt("version of git"):
        versions["git"] = try_git(["--version"], cwd=instance.path).stdout.strip()
    # Versions first: an engine that does not answer is asked once, for it takes its time.
    with parts.attempt("inspect.json"):
        versions["docker"] = asdict(engine.versions())
        containers = engine.containers(uuid=instance.uuid)
        parts.described = engine.describe([container.id for container in containers])
        parts.files["inspect.json"] = parts.described
        for container in containers:
            with parts.attempt(f"logs/{container.name}.log"):
                parts.add_log(container.name, engine.logs(container.id, tail=LOG_LINES))


def _take_state(context: Context, instance: Instance, parts: _Parts) -> None:
    """The files that steer the instance, and what was made of them."""
    engine = context.engine(instance.engine)
    override = context.home.state_of(instance.id) / OVERRIDE
    with parts.attempt("compose/model.json"):
        call = base_call(context, instance, context.settings(instance.path))
        parts.model = parts.files["compose/model.json"] = engine.compose_config(call)
        with parts.attempt("compose/with-override.json"):
            override.stat()
            whole = replace(call, files=(*call.files, override))
            parts.files["compose/with-override.json"] = engine.compose_config(whole)
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
        facts = {"code": error.code, "message": error.message, "hints": list(error.hints)}
        found["error.json"] = {**facts, "details": error.details}
    if isinstance(error, CommandError):
        found["error.json"] |= {
            "argv": list(error.outcome.argv),
            "exit_code": error.outcome.exit_code,
            "stdout": error.outcome.stdout[-LOG_CHARACTERS:],
            "stderr": error.outcome.stderr[-LOG_CHARACTERS:],
        }
    return found


def _archive(folder: str, files: Mapping[str, Any], redactor: Redactor) -> bytes:
    """Text goes in as it is, all else as JSON, and neither with a secret."""
    whole = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in sorted(files.items()):
            if isinstance(content, str):
                text = redactor.text(content)
            else:
                text = json.dumps(redactor.data(content), indent=2, default=str) + "\n"
            data = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, now
            archive.addfile(entry, io.BytesIO(data))
    return whole.getvalue()


def _refused(path: Path, error: OSError) -> SandboxError:
    if isinstance(error, FileExistsError):
        return SandboxError(
            "file-exists",
            f"{path} is there already, and is not overwritten.",
            hints=("Name another file, or remove that one.",),
            details={"path": str(path)},
        )
    failure = cannot_write(path, error)
    failure.hints = ("Name a file in a folder that is there and that you may write to.",)
    return failure
