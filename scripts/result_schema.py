"""The JSON Schema of what `--json` prints, made from the types in `console/results.py`.

Documents that their command puts together in place have their types here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final, cast

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from ktrdr_sandbox import api_address, settings_sources
from ktrdr_sandbox.commands import doctor_checks, gc, inspect
from ktrdr_sandbox.console import results
from ktrdr_sandbox.console.output import SCHEMA
from ktrdr_sandbox.errors import ErrorCode
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.shared.results import KeptReason

Shape = dict[str, Any]


class ErrorData(TypedDict):
    """A failure. The code is stable; the wording may change."""

    code: ErrorCode
    """docs/errors.md, or `ktrdr-sandbox explain CODE`"""
    message: str
    hints: list[str]
    details: dict[str, Any]
    """facts of this failure; which, depends on it"""


class NothingLeftData(TypedDict):
    """A killed command had all but ended it."""

    instance: None


class DestroyPlansData(TypedDict):
    """--all --dry-run"""

    instances: list[results.DestroyPlanData]


class StatusesData(TypedDict):
    """--all"""

    instances: list[results.StatusData]


class ListData(TypedDict):
    instances: list[results.ListedData]
    dropped: list[str]
    """ids of entries of which nothing was left"""


class ContainerLogData(TypedDict):
    name: str
    service: str
    lines: list[str]


class LogsData(TypedDict):
    instance: str
    containers: list[ContainerLogData]


class UrlData(TypedDict):
    url: str
    source: api_address.Source
    why: str


class PageData(TypedDict):
    tool: str
    url: str
    service: str


class AllRunsData(TypedDict):
    """Every instance (--all), by slot."""

    instances: list[results.RunData]
    succeeded: results.Count
    failed: results.Count


class CompletionScriptData(TypedDict):
    shell: str
    script: str


class CompletionInstalledData(TypedDict):
    shell: str
    path: str
    added_to: str | None


class SettingsFileData(TypedDict):
    path: str
    exists: bool


class SettingsFilesData(TypedDict):
    files: list[SettingsFileData]


class SettingsSchemaData(TypedDict):
    schema: dict[str, Any]


class GcData(TypedDict):
    items: list[results.OrphanData]


class CopiedData(TypedDict):
    files: results.Count
    new: results.Count
    replaced: results.Count
    bytes: results.Count
    links: results.Count
    folders: results.Count


class KeptData(TypedDict):
    path: str
    reason: KeptReason
    detail: str


class LeftOutData(TypedDict):
    path: str
    reason: str
    failed: bool


class FillingData(TypedDict):
    source: str
    destination: str
    dry_run: bool
    copied: CopiedData
    unchanged: results.Count
    kept: list[KeptData]
    left_out: list[LeftOutData]
    linked: dict[str, str]
    ignored: results.Count
    sha256: str | None
    seconds: results.Seconds
    shared: results.SharedData | None


class DemoData(TypedDict):
    directory: str
    stacks: list[results.StartupData]


class DemoCleanedData(TypedDict):
    destroyed: list[str]
    directory: str | None


class SchemaData(TypedDict):
    document: dict[str, Any]
    """a JSON Schema"""


class CodeData(TypedDict):
    code: ErrorCode
    meaning: str
    remedy: str
    exit_status: results.Count
    exit_status_of: dict[str, results.Count]
    """commands where it is another"""


class CodesData(TypedDict):
    codes: list[CodeData]


class VersionData(TypedDict):
    version: str
    tools: results.ToolsData | None
    """with --verbose; a tool is null when missing or not answering"""


class HelpData(TypedDict):
    of: str
    """the command's whole name"""
    text: str


DATA: Final[dict[str, tuple[str, ...]]] = {
    "create": ("CreationData",),
    "init": ("CreationData",),
    "up": ("StartupData", "IsolationData", "--all StartupData"),
    "down": ("ShutdownData", "--all ShutdownData"),
    "destroy": (
        "DestroyPlanData",
        "DestroyedData",
        "NothingLeftData",
        "DestroyPlansData",
        "--all DestroyedData NothingLeftData",
    ),
    "list": ("ListData",),
    "status": ("StatusData", "StatusesData"),
    "logs": ("LogsData",),
    "move": ("MoveData",),
    "wait": ("StartupData",),
    "isolate": ("IsolationData",),
    "env": ("EnvironmentData",),
    "url": ("UrlData",),
    # What they run has stdout to itself: a document only when that does not begin.
    "run": (),
    "exec": (),
    "shell": (),
    "open": ("PageData",),
    "completion": ("CompletionScriptData", "CompletionInstalledData"),
    "config show": ("SettingsData",),
    "config schema": ("SettingsSchemaData",),
    "config path": ("SettingsFilesData",),
    "config approve": ("ApprovalData",),
    "doctor": ("DoctorData",),
    "gc": ("GcData",),
    "init-shared": ("FillingData",),
    "demo": ("DemoData", "DemoCleanedData"),
    "schema": ("SchemaData",),
    "explain": ("CodesData",),
    "--version": ("VersionData",),
    "--help": ("HelpData",),
    # A command line that names no command, and a group without one.
    "": (),
    "config": (),
}
"""By command, the types that its data may have: one of them, or with `--all` one an instance."""

ON_FAILURE: Final[dict[str, tuple[str, ...]]] = {
    "create": ("CreationData",),
    "up": ("StartupData", "--all StartupData"),
    "down": ("--all ShutdownData",),
    "destroy": ("--all DestroyedData NothingLeftData",),
    "wait": ("StartupData",),
    "demo": ("StartupData",),
    "doctor": ("DoctorData",),
    "gc": ("GcData",),
    "init-shared": ("FillingData",),
}
"""The same for commands that have a report to give with a failure too."""

_PUBLIC_NAMES: Final = {
    "InstanceData": "instance",
    "PublishedData": "published",
    "GateData": "gate",
    "StartupData": "startup",
    "IsolationData": "isolation",
    "SharedData": "shared",
    "ErrorData": "error",
}
"""What was named in the first schema, and keeps its name."""

_WORDS: Final[dict[str, Any]] = {
    "CheckName": CheckName,
    "Kind": gc.Kind,
    "Level": doctor_checks.Level,
    "SettingSource": settings_sources.Kind,
    "Summary": inspect.Summary,
}
"""Types that `results` imports for type checking alone."""

NOTHING: Final[Shape] = {"type": "object", "maxProperties": 0}
_WIDTH: Final = 96


def document() -> Shape:
    """JSON Schema, draft 2020-12, of every document that `--json` prints."""
    types = _types()
    data = {name: _either(kinds, types) for name, kinds in DATA.items()}
    failed = {
        name: {"anyOf": [NOTHING, *_choices(kinds, types)]} for name, kinds in ON_FAILURE.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ktrdr-sandbox:1",
        "title": "What ktrdr-sandbox prints with --json",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "command": {
                "description": "'' when the command line names none",
                "enum": sorted(DATA),
            },
            "ok": {"type": "boolean"},
            "data": {"type": "object"},
            "messages": {
                "description": "what was told on the way; with --verbose also each command of "
                "Docker and git",
                "type": "array",
                "items": {"type": "string"},
            },
            "error": {"anyOf": [{"type": "null"}, _reference("error")]},
        },
        "required": ["schema", "command", "ok", "data", "messages", "error"],
        "additionalProperties": False,
        "if": {"properties": {"ok": {"const": True}}},
        "then": {"properties": {"error": {"type": "null"}}},
        "else": {"properties": {"error": _reference("error")}},
        "allOf": [_data_of(name, failed.get(name, NOTHING)) for name in DATA],
        "$defs": {**types, **{f"data.{name}": shape for name, shape in data.items() if name}},
    }


def text() -> str:
    """The content of the file that ships."""
    return _pretty(document(), "") + "\n"


def _types() -> dict[str, Shape]:
    """The schema of each type in `results`, by name."""
    vars(results).update(_WORDS)
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    known = {**vars(results), **globals()}
    found = [kind for name, kind in known.items() if name.endswith("Data")]
    for kind in found:
        kind.__pydantic_config__ = config
    _, schema = TypeAdapter.json_schemas(
        [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in found]
    )
    types = cast("dict[str, Shape]", _tidy(schema["$defs"]))
    return {_PUBLIC_NAMES.get(name, name): types[name] for name in sorted(types)}


def _tidy(value: Any) -> Any:
    """Without titles, which repeat the names, and with references to the public names."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: Shape = {
        key: {name: _tidy(shape) for name, shape in item.items()}
        if key in ("properties", "$defs")
        else _tidy(item)
        for key, item in value.items()
        if not (key == "title" and isinstance(item, str))
    }
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        found["$ref"] = _reference(_PUBLIC_NAMES.get(name, name))["$ref"]
    return found


def _reference(name: str) -> Shape:
    return {"$ref": f"#/$defs/{name}"}


def _either(kinds: tuple[str, ...], types: dict[str, Shape]) -> Shape:
    found = list(_choices(kinds, types))
    return found[0] if len(found) == 1 else {"anyOf": found} if found else NOTHING


def _choices(kinds: tuple[str, ...], types: dict[str, Shape]) -> Iterator[Shape]:
    for kind in kinds:
        if kind.startswith("--all "):
            yield _of_all(kind.split()[1:], types)
        else:
            yield _reference(_PUBLIC_NAMES.get(kind, kind))


def _of_all(kinds: list[str], types: dict[str, Shape]) -> Shape:
    """What `--all` gives of a command whose own data is one of these types."""
    run = copy.deepcopy(types["RunData"])
    run["properties"]["error"] = {"anyOf": [_reference("error"), {"type": "null"}]}
    own = [_reference(_PUBLIC_NAMES.get(kind, kind)) for kind in kinds]
    run["properties"]["data"] = {"anyOf": [NOTHING, *own]}
    found = copy.deepcopy(types["AllRunsData"])
    found["properties"]["instances"]["items"] = run
    return found


def _data_of(command: str, failed: Shape) -> Shape:
    return {
        "if": {"properties": {"command": {"const": command}}},
        "then": {
            "if": {"properties": {"ok": {"const": True}}},
            "then": {"properties": {"data": _reference(f"data.{command}") if command else NOTHING}},
            "else": {"properties": {"data": failed}},
        },
    }


def _pretty(value: Any, indent: str) -> str:
    """JSON in which whatever fits on a line is on one."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= _WIDTH:
        return line
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(item, inner)}" for key, item in value.items()]
    else:
        parts = [_pretty(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"
