"""The `data` of every command's document: its type, from which the JSON Schema is made, and how
it is filled from the command's result. Names here are part of the output's contract.

To add a command: a type here, and a line in `DATA` of `scripts/result_schema.py`; then
`python -m scripts.generate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from typing_extensions import TypedDict

from ktrdr_sandbox.gate.result import CheckName, as_json
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, CreatedBy, Instance, Protocol, Role

if TYPE_CHECKING:  # the records only, whose modules need not be loaded to write them down
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.create import CreatePlan
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
    from ktrdr_sandbox.settings_sources import Kind as SettingSource
    from ktrdr_sandbox.settings_sources import Resolution, Setting


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
    status: Summary
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
    status: Summary
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
    source: SettingSource
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


class ToolsData(TypedDict):
    python: str
    git: str | None
    docker_client: str | None
    docker_engine: str | None
    compose: str | None


def fill(kind: Any, value: object, /, **given: Any) -> dict[str, Any]:
    """The fields of a type: those that are `given`, the others from `value` by their names."""
    return {
        name: given[name] if name in given else _plain(getattr(value, name))
        for name in kind.__annotations__
    }


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, Instance):
        return fill(InstanceData, value, engine=value.engine.label)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _each(kind: Any, values: Sequence[object]) -> list[dict[str, Any]]:
    return [fill(kind, value) for value in values]


def creation(result: CreatePlan) -> dict[str, Any]:
    skipped = {str(slot): [port.port for port in ports] for slot, ports in result.skipped.items()}
    left_out = [{"path": name, "reason": reason} for name, reason in result.copies.left_out]
    copied = list(result.copies.copied)
    return fill(CreationData, result, skipped_slots=skipped, copied=copied, not_copied=left_out)


def startup(result: Startup) -> dict[str, Any]:
    return fill(
        StartupData,
        result,
        ports=_each(PublishedData, result.stack.ports),
        gate=None if result.gate is None else as_json(result.gate),
        notices=_each(NoteData, result.notices),
        seconds=round(result.seconds, 3),
    )


def move(result: MovePlan) -> dict[str, Any]:
    return fill(MoveData, result)


def shutdown(result: DownPlan) -> dict[str, Any]:
    return fill(ShutdownData, result, removed=list(result.removed.names()))


def destroy_plan(plan: DestroyPlan) -> dict[str, Any]:
    resources, unsaved = list(plan.resources.names()), fill(UnsavedData, plan.unsaved)
    return fill(DestroyPlanData, plan, resources=resources, unsaved=unsaved)


def destroyed(plan: DestroyPlan) -> dict[str, Any]:
    return fill(DestroyedData, plan, **destroy_plan(plan))


def listing(result: Listing) -> dict[str, Any]:
    return {
        "instances": [
            {
                **_plain(row.instance),
                "status": row.status,
                "api_port": row.api_port,
                "workers": _workers(row.workers),
            }
            for row in result.instances
        ],
        "dropped": [entry.id for entry in result.dropped],
    }


def status(result: InstanceStatus) -> dict[str, Any]:
    return fill(
        StatusData,
        result,
        ports=_each(PublishedData, result.ports),
        containers=_each(ContainerData, result.containers),
        workers=_workers(result.workers),
        shared=asdict(result.shared),
    )


def _workers(found: Workers | None) -> dict[str, Any] | None:
    return None if found is None else fill(WorkersData, found)


def isolation(found: Composition) -> dict[str, Any]:
    result = found.isolation
    return fill(
        IsolationData,
        found,
        files=[str(path) for path in found.call.files[:-1]],
        changes=_each(ChangeData, result.changes),
        refusals=_each(RefusalData, result.refusals),
        notices=_each(NoteData, result.notices),
        ports=_each(PublishedData, result.stack.ports),
    )


def environment(given: InstanceEnvironment) -> dict[str, Any]:
    file = str(given.instance.env_file)
    return fill(EnvironmentData, given, file=file, environment=dict(given.values))


def all_runs(found: AllRuns) -> dict[str, Any]:
    failed = len(found.failed)
    runs = [fill(RunData, run, instance=run.instance.id) for run in found.runs]
    return {"instances": runs, "succeeded": len(runs) - failed, "failed": failed}


def settings(found: Resolution, shown: Sequence[Setting]) -> dict[str, Any]:
    unapproved = {} if found.asked is None or found.approved else dict(found.asked.values)
    each = [
        fill(
            SettingData,
            setting,
            source=setting.origin.kind,
            file=_plain(setting.origin.path),
            line=setting.origin.line,
            variable=setting.origin.variable,
        )
        for setting in shown
    ]
    return fill(SettingsData, found, settings=each, unapproved=unapproved)


def approval(wanted: Resolution, repository: str) -> dict[str, Any]:
    asked = {} if wanted.asked is None else dict(wanted.asked.values)
    digest = None if wanted.asked is None else wanted.asked.digest
    return fill(ApprovalData, wanted, repository=repository, asked=asked, sha256=digest)


def examination(result: Examination) -> dict[str, Any]:
    findings = [
        fill(FindingData, finding, fix=finding.fix or None, instance=finding.instance or None)
        for finding in result.findings
    ]
    return fill(DoctorData, result, shared=asdict(result.shared), findings=findings)


def collection(result: Collection) -> dict[str, Any]:
    items = [fill(OrphanData, item, trouble=item.trouble or None) for item in result.items]
    return {"items": items}


def tools(found: ToolVersions) -> dict[str, Any]:
    return fill(ToolsData, found)
