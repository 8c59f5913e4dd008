"""The JSON Schema of what `--json` prints, made from the types of its data.

Names here are part of the output's contract. The program fills its documents by the schema that is
made of them, so nothing here is needed to run it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, cast

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from ktrdr_sandbox import api_address, settings_sources
from ktrdr_sandbox.commands import doctor_checks, gc, inspect
from ktrdr_sandbox.console.output import SCHEMA
from ktrdr_sandbox.errors import ErrorCode
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, CreatedBy, Protocol, Role
from ktrdr_sandbox.shared.results import KeptReason

Shape = dict[str, Any]


class Within:
    """The bounds of a number, for the JSON Schema."""

    def __init__(self, least: int, most: int | None = None) -> None:
        self.bounds = {"minimum": least} | ({} if most is None else {"maximum": most})

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), **self.bounds}


Count = Annotated[int, Within(0)]
Seconds = Annotated[float, Within(0)]
Port = Annotated[int, Within(1, 65535)]
Slot = Annotated[int, Within(FIRST_SLOT, LAST_SLOT)]


class InstanceData(TypedDict):
    """One sandbox instance, as the registry has it."""

    id: str
    """ktrdr--NAME; also the name of its Compose project"""
    name: str
    uuid: str
    """the label that everything of it in Docker carries"""
    slot: Slot
    path: str
    """root of its worktree or clone"""
    created_at: str
    created_by: CreatedBy
    is_worktree: bool
    parent_repo: str | None
    engine: str
    """Docker context or endpoint that it lives on"""


class PublishedData(TypedDict):
    """One host port that a stack publishes."""

    service: str
    target: Port
    """the container's port"""
    protocol: Protocol
    host_ip: str
    published: Port
    """the host's port"""
    role: Role | None
    """what it is for; null in the slot's extra block"""
    variable: str
    """its name in .env.sandbox"""


class NoteData(TypedDict):
    service: str | None
    text: str


class LogData(TypedDict):
    service: str
    lines: list[str]


class CheckData(TypedDict):
    name: CheckName
    title: str
    passed: bool
    final: bool
    """it could no longer come true, so nobody waited"""
    facts: list[str]
    services: list[str]
    """services to blame"""
    seconds: Seconds
    cause: str | None
    next_command: str | None
    logs: list[LogData]


class GateData(TypedDict):
    """The Startability Gate's report."""

    passed: bool
    seconds: Seconds
    healed: list[str]
    """worker containers that were restarted"""
    checks: list[CheckData]


class StartupData(TypedDict):
    """A start, and the gate's report; null when it was not waited for."""

    instance: InstanceData
    ports: list[PublishedData]
    gate: GateData | None
    notices: list[NoteData]
    seconds: Seconds


class SharedFolderData(TypedDict):
    files: Count
    bytes: Count
    linked_to: str | None


class SharedData(TypedDict):
    """What the folder that all instances share holds."""

    path: str
    files: Count
    bytes: Count
    folders: dict[str, SharedFolderData]
    symbols: dict[str, list[str]]
    """timeframes by symbol"""
    models: list[str]
    strategies: list[str]
    updated: str | None


class NotCopiedData(TypedDict):
    path: str
    reason: str


class CreationData(TypedDict):
    instance: InstanceData
    branch: str | None
    new_branch: bool
    ports: dict[str, Port]
    """the slot's port map, by role"""
    skipped_slots: dict[str, list[Port]]
    """slots passed over, and their busy ports"""
    copied: list[str]
    """ignored files that were copied from the main checkout"""
    not_copied: list[NotCopiedData]


class MoveData(TypedDict):
    instance: InstanceData
    former_slot: Slot
    ports: dict[str, Port]


class ShutdownData(TypedDict):
    instance: InstanceData
    removed: list[str]
    volumes_kept: list[str]


class UnsavedData(TypedDict):
    files: list[str]
    operation: str | None
    commits: list[str]
    repositories: list[str]
    """work in other repositories within it, a line each"""


class DestroyPlanData(TypedDict):
    """What would go (--dry-run)."""

    instance: InstanceData
    resources: list[str]
    """containers, networks and volumes"""
    images: list[str]
    directory: str | None
    """null when it stays"""
    kept_because: str | None
    branch: str | None
    unsaved: UnsavedData
    ignored: list[str]
    """what git ignores in it, which goes along"""


class DestroyedData(DestroyPlanData):
    """What went. `trash` is where work that was unsaved is."""

    trash: str | None


class WorkersData(TypedDict):
    registered: int
    expected: int


class ListedData(InstanceData):
    status: inspect.Summary
    api_port: Port
    workers: WorkersData | None
    """null where there are none, or the backend does not tell"""


class ContainerData(TypedDict):
    name: str
    service: str
    state: str
    status: str
    image: str


class StatusData(TypedDict):
    instance: InstanceData
    status: inspect.Summary
    ports: list[PublishedData]
    containers: list[ContainerData]
    missing: list[str]
    """services of the last up without a container"""
    workers: WorkersData | None
    """null where there are none, or the backend does not tell"""
    shared: SharedData


class ChangeData(TypedDict):
    service: str | None
    key: str
    before: str
    after: str
    reason: str


class RefusalData(TypedDict):
    service: str | None
    key: str
    reason: str
    setting: str


class IsolationData(TypedDict):
    """What is laid over the checkout's Compose file."""

    instance: InstanceData
    files: list[str]
    changes: list[ChangeData]
    refusals: list[RefusalData]
    notices: list[NoteData]
    ports: list[PublishedData]
    override: str
    """the override file's text"""


class EnvironmentData(TypedDict):
    """With passwords and keys as they are, for it is asked for just these."""

    instance: InstanceData
    file: str
    environment: dict[str, str]


class RunData(TypedDict):
    """How the command ended for one instance: what its own document says."""

    instance: str
    """its id"""
    ok: bool
    exit_code: int | None
    """null when it was never begun"""
    data: dict[str, Any]
    messages: list[str]
    error: dict[str, Any] | None


class SettingData(TypedDict):
    name: str
    value: Any
    """as a settings file would have it"""
    source: settings_sources.Kind
    file: str | None
    line: Count | None
    variable: str | None


class SettingsData(TypedDict):
    checkout: str | None
    settings: list[SettingData]
    unapproved: dict[str, Any]
    """set by the checkout, and not in force"""


class ApprovalData(TypedDict):
    checkout: str
    repository: str
    asked: dict[str, Any]
    sha256: str | None
    approved: bool


class FindingData(TypedDict):
    check: str
    level: doctor_checks.Level
    text: str
    fix: str | None
    instance: str | None
    repaired: bool


class DoctorData(TypedDict):
    healthy: bool
    shared: SharedData
    findings: list[FindingData]


class OrphanData(TypedDict):
    kind: gc.Kind
    name: str
    reason: str
    parts: list[str]
    done: bool
    trouble: str | None
    """why it stays"""


class ToolsData(TypedDict):
    python: str
    git: str | None
    docker_client: str | None
    docker_engine: str | None
    compose: str | None


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

    instances: list[DestroyPlanData]


class StatusesData(TypedDict):
    """--all"""

    instances: list[StatusData]


class ListData(TypedDict):
    instances: list[ListedData]
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

    instances: list[RunData]
    succeeded: Count
    failed: Count


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
    items: list[OrphanData]


class CopiedData(TypedDict):
    files: Count
    new: Count
    replaced: Count
    bytes: Count
    links: Count
    folders: Count


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
    unchanged: Count
    kept: list[KeptData]
    left_out: list[LeftOutData]
    linked: dict[str, str]
    ignored: Count
    sha256: str | None
    seconds: Seconds
    shared: SharedData | None


class DemoData(TypedDict):
    directory: str
    stacks: list[StartupData]


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
    exit_status: Count
    exit_status_of: dict[str, Count]
    """commands where it is another"""


class CodesData(TypedDict):
    codes: list[CodeData]


class VersionData(TypedDict):
    version: str
    tools: ToolsData | None
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
            "command": {"description": "'' when the command line names none", "enum": sorted(DATA)},
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
    """The schema of each type, by name."""
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    found = [kind for name, kind in globals().items() if name.endswith("Data")]
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
