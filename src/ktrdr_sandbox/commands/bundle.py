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

from ktrdr_sandbox import __version__
from ktrdr_sandbox.commands.compose_project import OVERRIDE, base_call
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.known_secrets import redactor_for
from ktrdr_sandbox.docker.engine import Container, Engine
from ktrdr_sandbox.errors import CommandError, SandboxError
from ktrdr_sandbox.files import cannot_write, create_file
from ktrdr_sandbox.gate.report import as_json, report_lines
from ktrdr_sandbox.gate.result import GateResult
from ktrdr_sandbox.git.git import try_git
from ktrdr_sandbox.models import ENV_FILE_NAME, Instance
from ktrdr_sandbox.redaction import Redactor
from ktrdr_sandbox.settings import as_data
from ktrdr_sandbox.state.registry import Registry, dump

SCHEMA: Final = "ktrdr-sandbox-bundle/1"
LOG_LINES: Final = 2000
"""Last lines taken of each container."""

LOG_CHARACTERS: Final = 2_000_000
"""And at most so many characters of them."""

INSPECT: Final = "inspect.json"
MODEL: Final = "compose/model.json"
EFFECTIVE: Final = "compose/with-override.json"

_AT_ONCE: Final = 4


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
    findings = _Findings()
    material = _collected(context, instance, findings)
    redactor = redactor_for(instance, context.environment, material.model, material.described)
    files = {
        **(more or {}),
        **_outcome(gate, error),
        **_state(context, instance, material, findings),
        **{
            _log_name(name): _log(lines)
            for name, lines in {**material.logs, **(logs or {})}.items()
        },
    }
    manifest = {
        "schema": SCHEMA,
        "instance": instance.id,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": sorted(files),
        "missing": findings.missing,
    }
    hidden = {name: _hidden(content, redactor) for name, content in files.items()}
    hidden["manifest.json"] = _hidden(manifest, redactor)
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


@dataclass
class _Findings:
    """`missing` says of each part that could not be had why not."""

    missing: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Whatever the block could not do is the reason why a part is missing."""
        try:
            yield
        except SandboxError as error:
            self.missing[name] = error.message
        except (OSError, ValueError) as error:
            self.missing[name] = str(error)


@dataclass(kw_only=True)
class _Material:
    """What the engine and Compose tell, as they tell it."""

    model: Mapping[str, Any] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    described: Sequence[Mapping[str, Any]] = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)


def _collected(context: Context, instance: Instance, findings: _Findings) -> _Material:
    engine = context.engine(instance.engine)
    found = _Material()
    # Versions first: an engine that does not answer is asked once, for it takes its time.
    with findings.attempt(INSPECT):
        found.versions = asdict(engine.versions())
        found.containers = engine.containers(uuid=instance.uuid)
        found.described = engine.describe([container.id for container in found.containers])
    found.logs = _logs(engine, found.containers, findings)
    with findings.attempt(MODEL):
        call = base_call(context, instance, context.settings(instance.path))
        found.model = engine.compose_config(call)
        override = context.home.state_of(instance.id) / OVERRIDE
        with findings.attempt(EFFECTIVE):
            override.stat()
            whole = replace(call, files=(*call.files, override))
            found.effective = engine.compose_config(whole)
    return found


def _logs(
    engine: Engine, containers: Sequence[Container], findings: _Findings
) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}

    def read(container: Container) -> None:
        with findings.attempt(_log_name(container.name)):
            found[container.name] = engine.logs(container.id, tail=LOG_LINES)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(read, containers))
    return found


def _log_name(container: str) -> str:
    return f"logs/{container}.log"


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
            **(_command(error) if isinstance(error, CommandError) else {}),
        }
    return found


def _command(error: CommandError) -> dict[str, Any]:
    return {
        "argv": list(error.argv),
        "exit_code": error.exit_code,
        "stdout": error.stdout[-LOG_CHARACTERS:],
        "stderr": error.stderr[-LOG_CHARACTERS:],
    }


def _state(
    context: Context, instance: Instance, material: _Material, findings: _Findings
) -> dict[str, Any]:
    """The files that steer the instance, and what was made of them."""
    found: dict[str, Any] = {
        MODEL: material.model,
        EFFECTIVE: material.effective,
        INSPECT: material.described,
        "versions.json": _versions(instance, material, findings),
        "registry.json": dump(Registry({instance.id: instance}))["instances"],
    }
    with findings.attempt("settings.json"):
        found["settings.json"] = as_data(context.settings(instance.path))
    override = context.home.state_of(instance.id) / OVERRIDE
    for name, path in ((ENV_FILE_NAME, instance.env_file), ("compose/override.yml", override)):
        with findings.attempt(name):
            found[name] = path.read_text(encoding="utf-8", errors="replace")
    return {name: content for name, content in found.items() if name not in findings.missing}


def _versions(instance: Instance, material: _Material, findings: _Findings) -> dict[str, Any]:
    found = {
        "ktrdr-sandbox": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "docker": dict(material.versions),
    }
    with findings.attempt("version of git"):
        found["git"] = try_git(["--version"], cwd=instance.path).stdout.strip()
    return found


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
