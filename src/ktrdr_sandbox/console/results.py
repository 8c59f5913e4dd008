"""The `data` of each command's document, made from the command's result.

The schema that ships says which fields a type has and what each holds, so no document differs from
it. The types are in `scripts/result_schema.py`; `python -m scripts.generate` makes the schema.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox.models import EngineAddress

if TYPE_CHECKING:  # the records only, whose modules need not be loaded to write them down
    from ktrdr_sandbox.commands.compose_project import Composition
    from ktrdr_sandbox.commands.create import CreatePlan
    from ktrdr_sandbox.commands.destroy import DestroyPlan
    from ktrdr_sandbox.commands.down import DownPlan
    from ktrdr_sandbox.commands.environment import InstanceEnvironment
    from ktrdr_sandbox.commands.inspect import Listing
    from ktrdr_sandbox.commands.parallel_runs import AllRuns
    from ktrdr_sandbox.commands.up import Startup
    from ktrdr_sandbox.settings_sources import Resolution, Setting

SCHEMA_FILE: Final = Path(__file__).with_name("ktrdr-sandbox-1.schema.json")


def fill(kind: str, value: object, /, **given: Any) -> dict[str, Any]:
    """Make a type of the schema: its fields as `given`, the others from `value` by their names."""
    return {
        name: _plain(shape, given[name] if name in given else getattr(value, name))
        for name, shape in _types()[kind]["properties"].items()
    }


@functools.cache
def _types() -> dict[str, Any]:
    types: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["$defs"]
    return types


def _plain(shape: Any, value: Any) -> Any:
    """Convert a value to what JSON has, as its schema says. An optional text is never empty."""
    for choice in shape.get("anyOf", ()):
        if value is None or value == "":
            return None
        shape = choice if "$ref" in choice else shape
    if isinstance(value, Mapping):
        inner = shape.get("additionalProperties")
        each = inner if isinstance(inner, dict) else {}
        return {str(key): _plain(each, item) for key, item in value.items()}
    if "$ref" in shape:
        return fill(shape["$ref"].rpartition("/")[2], value)
    if shape.get("type") == "array":
        return [_plain(shape["items"], item) for item in value]
    if shape.get("type") == "number":
        return round(value, 3)
    if isinstance(value, EngineAddress):
        return value.label
    return str(value) if isinstance(value, Path) else value


def creation(result: CreatePlan) -> dict[str, Any]:
    busy = {slot: [port.port for port in ports] for slot, ports in result.skipped.items()}
    left_out = [{"path": path, "reason": why} for path, why in result.copies.left_out]
    copied = result.copies.copied
    return fill("CreationData", result, skipped_slots=busy, copied=copied, not_copied=left_out)


def startup(result: Startup) -> dict[str, Any]:
    return fill("startup", result, ports=result.stack.ports)


def shutdown(result: DownPlan) -> dict[str, Any]:
    return fill("ShutdownData", result, removed=result.removed.names())


def destroy_plan(plan: DestroyPlan, *, done: bool = False) -> dict[str, Any]:
    kind = "DestroyedData" if done else "DestroyPlanData"
    return fill(kind, plan, resources=plan.resources.names())


def listing(result: Listing) -> dict[str, Any]:
    each = []
    for row in result.instances:
        own = {"status": row.status, "api_port": row.api_port, "workers": row.workers}
        each.append(fill("ListedData", row.instance, **own))
    return {"instances": each, "dropped": [entry.id for entry in result.dropped]}


def isolation(found: Composition) -> dict[str, Any]:
    result = found.isolation
    return fill(
        "isolation",
        found,
        files=found.call.files[:-1],
        changes=result.changes,
        refusals=result.refusals,
        notices=result.notices,
        ports=result.stack.ports,
    )


def environment(found: InstanceEnvironment) -> dict[str, Any]:
    file = found.instance.env_file
    return fill("EnvironmentData", found, file=file, environment=found.values)


def all_runs(found: AllRuns) -> dict[str, Any]:
    failed = len(found.failed)
    runs = [fill("RunData", run, instance=run.instance.id) for run in found.runs]
    return {"instances": runs, "succeeded": len(runs) - failed, "failed": failed}


def settings(found: Resolution, shown: Sequence[Setting]) -> dict[str, Any]:
    each = []
    for setting in shown:
        kind, path = setting.origin.kind, setting.origin.path
        where = {"line": setting.origin.line, "variable": setting.origin.variable}
        each.append(fill("SettingData", setting, source=kind, file=path, **where))
    unapproved = {} if found.asked is None or found.approved else found.asked.values
    return fill("SettingsData", found, settings=each, unapproved=unapproved)


def approval(wanted: Resolution, repository: str) -> dict[str, Any]:
    values, digest = (wanted.asked.values, wanted.asked.digest) if wanted.asked else ({}, None)
    return fill("ApprovalData", wanted, repository=repository, asked=values, sha256=digest)
