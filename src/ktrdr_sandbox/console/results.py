"""The `data` of every command's document: its type, from which the JSON Schema is made, and how
it is made from the command's result. Names here are part of the output's contract.

To add a command: a type here, and a line in `DATA` of `scripts/result_schema.py`; then
`python -m scripts.generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from typing_extensions import TypedDict

from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, CreatedBy, Protocol, Role

if TYPE_CHECKING:  # the records only, whose modules need not be loaded to write them down
    from ktrdr_sandbox.api_address import ApiAddress, Source
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.configuration import Request, Setting, Survey
    from ktrdr_sandbox.commands.create import Creation
    from ktrdr_sandbox.commands.demo import Cleanup, Demonstration
    from ktrdr_sandbox.commands.destroy import DestroyPlan
    from ktrdr_sandbox.commands.doctor import Examination
    from ktrdr_sandbox.commands.doctor_checks import Level
    from ktrdr_sandbox.commands.down import DownPlan
    from ktrdr_sandbox.commands.environment import InstanceEnvironment
    from ktrdr_sandbox.commands.gc import Collection, Kind
    from ktrdr_sandbox.commands.inspect import InstanceStatus, Listing, Summary, Workers
    from ktrdr_sandbox.commands.move import MovePlan
    from ktrdr_sandbox.commands.parallel_runs import AllRuns
    from ktrdr_sandbox.commands.tool_versions import ToolVersions
    from ktrdr_sandbox.commands.up import Startup
    from ktrdr_sandbox.errors import ErrorCode
    from ktrdr_sandbox.gate.result import CheckName
    from ktrdr_sandbox.models import Instance, PublishedPort
    from ktrdr_sandbox.settings_sources import Kind as SettingSource
    from ktrdr_sandbox.shared_data.remarks import KeptReason


SCHEMA_FILE: Final = Path(__file__).with_name("ktrdr-sandbox-1.schema.json")
"""The JSON Schema of all this, as it ships. Made by `python -m scripts.generate`."""


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


# -- what several commands have --------------------------------------------------------------------


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


class ErrorData(TypedDict):
    """A failure. The code is stable; the wording may change."""

    code: ErrorCode
    """docs/errors.md, or `ktrdr-sandbox explain CODE`"""
    message: str
    hints: list[str]
    details: dict[str, Any]
    """facts of this failure; which, depends on it"""


def instance(value: Instance) -> InstanceData:
    return {
        "id": value.id,
        "name": value.name,
        "uuid": value.uuid,
        "slot": value.slot,
        "path": str(value.path),
        "created_at": value.created_at,
        "created_by": value.created_by,
        "is_worktree": value.is_worktree,
        "parent_repo": None if value.parent_repo is None else str(value.parent_repo),
        "engine": value.engine.label,
    }


def published(ports: Sequence[PublishedPort]) -> list[PublishedData]:
    return [cast("PublishedData", asdict(port)) for port in ports]


def startup(result: Startup) -> StartupData:
    from ktrdr_sandbox.gate.report import as_json

    return {
        "instance": instance(result.instance),
        "ports": published(result.stack.ports),
        "gate": None if result.gate is None else cast("GateData", as_json(result.gate)),
        "notices": [{"service": n.service, "text": n.text} for n in result.notices],
        "seconds": round(result.seconds, 3),
    }


# -- instances -------------------------------------------------------------------------------------


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


class NothingLeftData(TypedDict):
    """A killed command had all but ended it."""

    instance: None


class DestroyPlansData(TypedDict):
    """--all --dry-run"""

    instances: list[DestroyPlanData]


class WorkersData(TypedDict):
    registered: int
    expected: int


class ListedData(InstanceData):
    status: Summary
    api_port: Port
    workers: WorkersData | None
    """null where there are none, or the backend does not tell"""


class ListData(TypedDict):
    instances: list[ListedData]
    dropped: list[str]
    """ids of entries of which nothing was left"""


class ContainerData(TypedDict):
    name: str
    service: str
    state: str
    status: str
    image: str


class StatusData(TypedDict):
    instance: InstanceData
    status: Summary
    ports: list[PublishedData]
    containers: list[ContainerData]
    missing: list[str]
    """services of the last up without a container"""
    workers: WorkersData | None
    """null where there are none, or the backend does not tell"""
    shared: SharedData


class StatusesData(TypedDict):
    """--all"""

    instances: list[StatusData]


class ContainerLogData(TypedDict):
    name: str
    service: str
    lines: list[str]


class LogsData(TypedDict):
    instance: str
    containers: list[ContainerLogData]


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


class UrlData(TypedDict):
    url: str
    source: Source
    why: str


class PageData(TypedDict):
    tool: str
    url: str
    service: str


def creation(result: Creation) -> CreationData:
    return {
        "instance": instance(result.instance),
        "branch": result.branch,
        "new_branch": result.new_branch,
        "ports": dict(result.ports),
        "skipped_slots": {
            str(slot): [port.port for port in ports] for slot, ports in result.skipped.items()
        },
        "copied": list(result.copies.copied),
        "not_copied": [{"path": name, "reason": reason} for name, reason in result.copies.left_out],
    }


def move(result: MovePlan) -> MoveData:
    return {
        "instance": instance(result.instance),
        "former_slot": result.former_slot,
        "ports": dict(result.ports),
    }


def shutdown(result: DownPlan) -> ShutdownData:
    return {
        "instance": instance(result.instance),
        "removed": list(result.removed.names()),
        "volumes_kept": list(result.volumes_kept),
    }


def destroy_plan(plan: DestroyPlan) -> DestroyPlanData:
    return {
        "instance": instance(plan.instance),
        "resources": list(plan.resources.names()),
        "images": list(plan.images),
        "directory": None if plan.directory is None else str(plan.directory),
        "kept_because": plan.kept_because,
        "branch": plan.branch,
        "unsaved": {
            "files": list(plan.unsaved.files),
            "operation": plan.unsaved.operation,
            "commits": list(plan.unsaved.commits),
            "repositories": list(plan.unsaved.repositories),
        },
        "ignored": list(plan.ignored),
    }


def destroyed(plan: DestroyPlan) -> DestroyedData:
    trash = None if plan.trash is None else str(plan.trash)
    return {**destroy_plan(plan), "trash": trash}


def listing(result: Listing) -> ListData:
    return {
        "instances": [
            {
                **instance(row.instance),
                "status": row.status,
                "api_port": row.api_port,
                "workers": _workers(row.workers),
            }
            for row in result.instances
        ],
        "dropped": [entry.id for entry in result.dropped],
    }


def _workers(found: Workers | None) -> WorkersData | None:
    if found is None:
        return None
    return {"registered": found.registered, "expected": found.expected}


def status(result: InstanceStatus) -> StatusData:
    from ktrdr_sandbox.console.sharing import holdings_data

    return {
        "instance": instance(result.instance),
        "status": result.status,
        "ports": published(result.ports),
        "containers": [
            {
                "name": container.name,
                "service": container.service,
                "state": container.state,
                "status": container.status,
                "image": container.image,
            }
            for container in result.containers
        ],
        "missing": list(result.missing),
        "workers": _workers(result.workers),
        "shared": cast("SharedData", holdings_data(result.shared)),
    }


def isolation(found: Composition) -> IsolationData:
    result = found.isolation
    return {
        "instance": instance(found.instance),
        "files": [str(path) for path in found.call.files[:-1]],
        "changes": [cast("ChangeData", asdict(change)) for change in result.changes],
        "refusals": [cast("RefusalData", asdict(refusal)) for refusal in result.refusals],
        "notices": [cast("NoteData", asdict(notice)) for notice in result.notices],
        "ports": published(result.stack.ports),
        "override": found.override,
    }


def environment(given: InstanceEnvironment) -> EnvironmentData:
    return {
        "instance": instance(given.instance),
        "file": str(given.instance.env_file),
        "environment": dict(given.values),
    }


def url(found: ApiAddress) -> UrlData:
    return {"url": found.url, "source": found.source, "why": found.why}


# -- everything else -------------------------------------------------------------------------------


class RunData(TypedDict):
    """How the command ended for one instance: what its own document says."""

    instance: str
    """its id"""
    ok: bool
    exit_code: int | None
    """null when it was never begun"""
    data: dict[str, Any]
    messages: list[str]
    error: ErrorData | None


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


class SettingData(TypedDict):
    name: str
    value: Any
    """as a settings file would have it"""
    source: SettingSource
    file: str | None
    line: Count | None
    variable: str | None


class SettingsData(TypedDict):
    checkout: str | None
    settings: list[SettingData]
    unapproved: dict[str, Any]
    """set by the checkout, and not in force"""


class SettingsFileData(TypedDict):
    path: str
    exists: bool


class SettingsFilesData(TypedDict):
    files: list[SettingsFileData]


class SettingsSchemaData(TypedDict):
    schema: dict[str, Any]


class ApprovalData(TypedDict):
    checkout: str
    repository: str
    asked: dict[str, Any]
    sha256: str | None
    approved: bool


class FindingData(TypedDict):
    check: str
    level: Level
    text: str
    fix: str | None
    instance: str | None
    repaired: bool


class DoctorData(TypedDict):
    healthy: bool
    shared: SharedData
    findings: list[FindingData]


class OrphanData(TypedDict):
    kind: Kind
    name: str
    reason: str
    parts: list[str]
    done: bool
    trouble: str | None
    """why it stays"""


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


class ToolsData(TypedDict):
    python: str
    git: str | None
    docker_client: str | None
    docker_engine: str | None
    compose: str | None


class VersionData(TypedDict):
    version: str
    tools: ToolsData | None
    """with --verbose; a tool is null when missing or not answering"""


class HelpData(TypedDict):
    of: str
    """the command's whole name"""
    text: str


def all_runs(found: AllRuns) -> AllRunsData:
    return {
        "instances": [
            {
                "instance": run.instance.id,
                "ok": run.ok,
                "exit_code": run.exit_code,
                "data": run.data,
                "messages": list(run.messages),
                "error": cast("ErrorData | None", run.error),
            }
            for run in found.runs
        ],
        "succeeded": len(found.runs) - len(found.failed),
        "failed": len(found.failed),
    }


def tools(found: ToolVersions) -> ToolsData:
    return {
        "python": found.python,
        "git": found.git,
        "docker_client": found.docker_client,
        "docker_engine": found.docker_engine,
        "compose": found.compose,
    }


def settings(found: Survey, shown: Sequence[Setting]) -> SettingsData:
    return {
        "checkout": None if found.checkout is None else str(found.checkout),
        "settings": [
            {
                "name": setting.name,
                "value": setting.value,
                "source": setting.origin.kind,
                "file": None if setting.origin.path is None else str(setting.origin.path),
                "line": setting.origin.line,
                "variable": setting.origin.variable,
            }
            for setting in shown
        ],
        "unapproved": dict(found.withheld.values) if found.withheld is not None else {},
    }


def approval(wanted: Request) -> ApprovalData:
    asked = wanted.asked
    return {
        "checkout": str(wanted.checkout),
        "repository": wanted.repository,
        "asked": {} if asked is None else dict(asked.values),
        "sha256": None if asked is None else asked.digest,
        "approved": wanted.approved,
    }


def examination(result: Examination) -> DoctorData:
    from ktrdr_sandbox.console.sharing import holdings_data

    return {
        "healthy": result.healthy,
        "shared": cast("SharedData", holdings_data(result.shared)),
        "findings": [
            {
                "check": finding.check,
                "level": finding.level,
                "text": finding.text,
                "fix": finding.fix or None,
                "instance": finding.instance or None,
                "repaired": finding.repaired,
            }
            for finding in result.findings
        ],
    }


def collection(result: Collection) -> GcData:
    return {
        "items": [
            {
                "kind": item.kind,
                "name": item.name,
                "reason": item.reason,
                "parts": list(item.parts),
                "done": item.done,
                "trouble": item.trouble or None,
            }
            for item in result.items
        ]
    }


def demonstration(result: Demonstration) -> DemoData:
    return {
        "directory": str(result.folder),
        "stacks": [startup(one) for one in result.startups],
    }


def cleanup(result: Cleanup) -> DemoCleanedData:
    return {
        "destroyed": [one.id for one in result.destroyed],
        "directory": None if result.folder is None else str(result.folder),
    }
