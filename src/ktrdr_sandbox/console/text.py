"""Results as text for people and shells. Plain lines: the same on a terminal and on a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.console.shared import inventory_text
from ktrdr_sandbox.gate.result import report_lines
from ktrdr_sandbox.naming import printable

if TYPE_CHECKING:  # the records only: rendering needs none of the rooms behind them
    from ktrdr_sandbox.commands.create import CreatePlan
    from ktrdr_sandbox.commands.destroy import DestroyPlan
    from ktrdr_sandbox.commands.down import DownPlan
    from ktrdr_sandbox.commands.inspect import InstanceStatus, ListedInstance, Listing
    from ktrdr_sandbox.commands.move import MovePlan
    from ktrdr_sandbox.commands.up import Startup
    from ktrdr_sandbox.models import PublishedPort

_LINKS: Final = (
    ("API", "backend", "http://localhost:{}"),
    ("Grafana", "grafana", "http://localhost:{}"),
    ("Jaeger", "jaeger_ui", "http://localhost:{}"),
    ("Prometheus", "prometheus", "http://localhost:{}"),
    ("Database", "db", "localhost:{}"),
)
_NO_INSTANCES: Final = "No instances. Create one: ktrdr-sandbox create <name>"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns by spaces, no trailing ones."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Indent names and values, one a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name.ljust(width)}  {value}" for name, value in pairs]


def counted(*counts: tuple[int, str]) -> str:
    """Write `2 containers, 1 network`; what there is none of is left out."""
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts if n)


def links(ports: Mapping[str, int]) -> list[tuple[str, str]]:
    """Give names and addresses of a slot's port map."""
    return [(name, form.format(ports[role])) for name, role, form in _LINKS if role in ports]


def links_of(ports: Sequence[PublishedPort]) -> list[tuple[str, str]]:
    """Give addresses of what a stack really publishes; ports without a role by their service."""
    named: dict[str, int] = {}
    extra = []
    for port in ports:
        if port.role is not None:
            named.setdefault(port.role, port.published)
        else:
            address = f"{port.host_ip}:{port.published}/{port.protocol}"
            extra.append((f"{port.service}:{port.target}", address))
    workers = sorted(port.published for port in ports if port.role == "worker")
    numbers = ", ".join(map(str, workers))
    if len(workers) > 2 and workers[-1] - workers[0] == len(workers) - 1:
        numbers = f"{workers[0]}-{workers[-1]}"
    return [*links(named), *([("Workers", f"localhost:{numbers}")] if workers else []), *extra]


def _some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    most = 6 if len(names) == 6 else 5  # "and 1 more" is no shorter than the one
    shown = [name if name.isprintable() else repr(name) for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more


def _local(stamp: str) -> str:
    try:
        return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stamp


def creation(result: CreatePlan, *, verb: str) -> str:
    """Tell what create or init made, with its addresses and the next command."""
    instance = result.instance
    pairs = [("Directory", str(instance.path))]
    if result.branch:
        pairs.append(("Branch", result.branch + (" (new)" if result.new_branch else "")))
    if result.copies.copied:
        pairs.append(("Copied", _some(result.copies.copied)))
    lines = facts([*pairs, *links(result.ports)])
    lines.append(f"Next: {own_commands.on(instance.name, 'up')}")
    return "\n".join([f"{verb} {instance.id} (slot {instance.slot})", *lines])


def skipped(result: CreatePlan) -> list[str]:
    """Tell in one sentence of the slots that were passed over, however many."""
    if not result.skipped:
        return []
    slots = ", ".join(map(str, result.skipped))
    held: dict[str, list[str]] = {"": []}  # those of nobody known first: a holder stands behind its
    for ports in result.skipped.values():
        for port in ports:
            held.setdefault(port.holder, []).append(str(port.port))
    busy = ", ".join(
        _some(numbers) + (f" ({holder})" if holder else "")
        for holder, numbers in held.items()
        if numbers
    )
    who = f"Slot {slots} was" if len(result.skipped) == 1 else f"Slots {slots} were"
    one = sum(map(len, held.values())) == 1
    return [f"{who} skipped: {f'port {busy} is' if one else f'ports {busy} are'} in use."]


def left_out(result: CreatePlan) -> list[str]:
    """Tell each reason for which ignored files were not copied."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in result.copies.left_out:
        by_reason.setdefault(reason, []).append(name)
    return [f"Not copied: {_some(names)} ({reason})." for reason, names in by_reason.items()]


def move(result: MovePlan, *, dry_run: bool = False) -> str:
    """Tell the new slot with its addresses."""
    instance = result.instance
    verb = "would get" if dry_run else "has"
    head = f"{instance.id} {verb} slot {instance.slot} (before: {result.former_slot})"
    after = f"Next: {own_commands.on(instance.name, 'up')}"
    return "\n".join([head, *facts(links(result.ports)), after])


def startup(result: Startup) -> str:
    """Give the gate's report, and the addresses when it passed."""
    lines = report_lines(result.gate) if result.gate is not None else []
    if result.gate is not None and not result.gate.passed:
        return "\n".join(lines)
    state = "is ready" if result.gate is not None else "was started (not checked)"
    active = {service.name for service in result.stack.active}
    published = [port for port in result.stack.ports if port.service in active]
    lines += [""] if lines else []
    lines.append(f"{result.instance.id} {state} after {result.seconds:.1f} s")
    return "\n".join([*lines, *facts(links_of(published))])


def shutdown(result: DownPlan, *, dry_run: bool = False) -> str:
    """Tell what down removed and what it kept, or would."""
    if dry_run:
        names = result.removed.names() or ("nothing",)
        return "\n".join([f"down {result.instance.id} would remove:", *(f"  {x}" for x in names)])
    removed = counted(
        (len(result.removed.containers), "container"),
        (len(result.removed.networks), "network"),
        (len(result.removed.volumes), "volume"),
    )
    done = f"is down: removed {removed}." if removed else "was not running."
    kept = counted((len(result.volumes_kept), "volume"))
    after = f" Kept {kept} (remove with --volumes)." if kept else ""
    return f"{result.instance.id} {done}{after}"


def destruction_plan(plan: DestroyPlan) -> str:
    """Tell exactly what destroy would remove."""
    lines = [f"destroy {plan.instance.id} would remove:"]
    lines += [f"  {name}" for name in plan.resources.names()]
    lines += [f"  image {image}" for image in plan.images]
    if plan.directory is not None:
        lines.append(f"  directory {plan.directory}")
        if plan.ignored:
            more = f" and {len(plan.ignored) - 10} more" if len(plan.ignored) > 10 else ""
            first = printable(", ".join(plan.ignored[:10]))
            lines.append(f"    with what git ignores in it: {first}{more}")
    lines.append(f"  slot {plan.instance.slot} and the registry entry")
    if plan.resources.volumes:
        lines.append("The database, and whatever else is in these volumes, ends with it.")
    if plan.finish_first:
        names = ", ".join(plan.finish_first)
        lines.append(f"Up to {plan.grace} s to finish writing to what stays: {names}.")
    lines += _kept(plan)
    if plan.unsaved:
        lines.append("It would refuse, because this work is nowhere else:")
        lines += [f"  {line}" for line in plan.unsaved.lines()]
    return "\n".join(lines)


def _kept(plan: DestroyPlan) -> list[str]:
    lines = []
    if plan.kept_because is not None:
        lines.append(f"The directory {plan.instance.path} stays: {plan.kept_because}.")
    if plan.branch is not None and plan.directory is not None:
        lines.append(f"The branch {plan.branch} stays.")
    return lines


def destruction(plan: DestroyPlan) -> str:
    """Tell what destroy did, and what it left in place."""
    lines = [f"Destroyed {plan.instance.id}; slot {plan.instance.slot} is free.", *_kept(plan)]
    if plan.trash is not None:
        lines.append(f"The directory with its unsaved work is in {plan.trash}.")
        if plan.unsaved.commits:
            lines.append(f"Its commits: git fetch '{plan.trash}/lost-commits.bundle' HEAD")
    return "\n".join(lines)


def listing(result: Listing) -> str:
    """Make the table of all instances."""
    if not result.instances:
        return _NO_INSTANCES
    rows = [["INSTANCE", "SLOT", "STATUS", "API PORT", "CREATED"]]
    for row in result.instances:
        made = _local(row.instance.created_at)
        rows.append(
            [row.instance.id, str(row.instance.slot), _status(row), str(row.api_port), made]
        )
    return "\n".join(table(rows))


def _status(found: ListedInstance | InstanceStatus) -> str:
    """With the workers that have not registered, where there are such."""
    workers = found.workers
    if workers is None or workers.registered >= workers.expected:
        return found.status
    return f"{found.status}, {workers.registered} of {workers.expected} workers registered"


def instance_status(result: InstanceStatus) -> str:
    """Tell of one instance: identity, addresses, containers."""
    instance = result.instance
    pairs = [
        ("Status", _status(result)),
        ("Slot", str(instance.slot)),
        ("Directory", str(instance.path)),
        ("Created", f"{_local(instance.created_at)} UTC by {instance.created_by}"),
        ("Docker", instance.engine.label),
        *(links_of(result.ports) if result.ports else links(result.named_ports)),
        ("Shared", inventory_text(result.shared)),
    ]
    rows = [["SERVICE", "STATE", "CONTAINER"]]
    rows += [[c.service, c.status, c.name] for c in result.containers]
    rows += [[service, "no container", ""] for service in result.missing]
    on = own_commands.on
    if result.containers:
        below = table(rows)
    elif result.status == "unknown":
        below = ["Its Docker engine does not answer."]
    elif result.status == "orphaned":
        below = [f"Its directory is gone. Remove what is left: {on(instance.name, 'destroy')}"]
    else:
        below = [f"No containers. Start it: {on(instance.name, 'up')}"]
    return "\n".join([instance.id, *facts(pairs), "", *below])


def statuses(found: Sequence[InstanceStatus]) -> str:
    """Tell of all instances, one below the other."""
    return "\n\n".join(instance_status(one) for one in found) or _NO_INSTANCES
