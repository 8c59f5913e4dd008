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
    from ktrdr_sandbox.models import Instance, PublishedPort

_LINKS = (
    ("API", "backend", "http://localhost:{}"),
    ("Grafana", "grafana", "http://localhost:{}"),
    ("Jaeger", "jaeger_ui", "http://localhost:{}"),
    ("Prometheus", "prometheus", "http://localhost:{}"),
    ("Database", "db", "localhost:{}"),
)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned by spaces, no trailing ones."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def facts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Indented names and values, one a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"  {name.ljust(width)}  {value}" for name, value in pairs]


def links(ports: Mapping[str, int]) -> list[tuple[str, str]]:
    """Names and addresses of a slot's port map."""
    return [(name, form.format(ports[role])) for name, role, form in _LINKS if role in ports]


def links_of(ports: Sequence[PublishedPort]) -> list[tuple[str, str]]:
    """Addresses of what a stack really publishes; ports without a role under their service."""
    found: dict[str, int] = {}
    for port in ports:
        if port.role is not None:
            found.setdefault(port.role, port.published)
    extra = [
        (f"{port.service}:{port.target}", f"{port.host_ip}:{port.published}/{port.protocol}")
        for port in ports
        if port.role is None
    ]
    workers = sorted(port.published for port in ports if port.role == "worker")
    listed = [("Workers", f"localhost:{_ranges(workers)}")] if workers else []
    return [*links(found), *listed, *extra]


def _ranges(numbers: Sequence[int]) -> str:
    """`5010-5013` for numbers in a row, else all of them."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(str(number) for number in numbers)


def creation(result: CreatePlan, *, verb: str) -> str:
    """What create or init made, with its addresses and the next command."""
    instance = result.instance
    pairs = [("Directory", str(instance.path))]
    if result.branch:
        pairs.append(("Branch", result.branch + (" (new)" if result.new_branch else "")))
    if result.copies.copied:
        pairs.append(("Copied", _some(result.copies.copied)))
    pairs += links(result.ports)
    return "\n".join(
        [
            f"{verb} {instance.id} (slot {instance.slot})",
            *facts(pairs),
            f"Next: {own_commands.on(instance.name, 'up')}",
        ]
    )


def move(result: MovePlan, *, dry_run: bool = False) -> str:
    """The new slot with its addresses."""
    instance = result.instance
    verb = "would get" if dry_run else "has"
    return "\n".join(
        [
            f"{instance.id} {verb} slot {instance.slot} (before: {result.former_slot})",
            *facts(links(result.ports)),
            f"Next: {own_commands.on(instance.name, 'up')}",
        ]
    )


def skipped(result: CreatePlan) -> list[str]:
    """One sentence on the slots that were passed over, however many."""
    slots = [str(slot) for slot in result.skipped]
    if not slots:
        return []
    who = f"Slot {slots[0]} was" if len(slots) == 1 else f"Slots {', '.join(slots)} were"
    count = sum(len(ports) for ports in result.skipped.values())
    what = f"port {_busy(result)} is" if count == 1 else f"ports {_busy(result)} are"
    return [f"{who} skipped: {what} in use."]


def _busy(result: CreatePlan) -> str:
    """The busy ports by holder. Those of nobody known come first: a holder stands behind its."""
    held: dict[str, list[str]] = {"": []}
    for ports in result.skipped.values():
        for port in ports:
            held.setdefault(port.holder, []).append(str(port.port))
    return ", ".join(
        _some(numbers) + (f" ({holder})" if holder else "")
        for holder, numbers in held.items()
        if numbers
    )


def left_out(result: CreatePlan) -> list[str]:
    """A sentence for each reason for which an ignored file was not copied."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in result.copies.left_out:
        by_reason.setdefault(reason, []).append(name)
    return [f"Not copied: {_some(names)} ({reason})." for reason, names in by_reason.items()]


def _some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    most = 6 if len(names) == 6 else 5  # "and 1 more" is no shorter than the one
    shown = [name if name.isprintable() else repr(name) for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown) + more


def startup(result: Startup) -> str:
    """The gate's report, and the addresses when it passed."""
    lines = report_lines(result.gate) if result.gate is not None else []
    if result.gate is not None and not result.gate.passed:
        return "\n".join(lines)
    state = "is ready" if result.gate is not None else "was started (not checked)"
    active = {service.name for service in result.stack.active}
    published = [port for port in result.stack.ports if port.service in active]
    return "\n".join(
        [
            *lines,
            *([""] if lines else []),
            f"{result.instance.id} {state} after {result.seconds:.1f} s",
            *facts(links_of(published)),
        ]
    )


def shutdown(result: DownPlan, *, dry_run: bool = False) -> str:
    """What down removed and what it kept, or would."""
    if dry_run:
        names = result.removed.names() or ("nothing",)
        return "\n".join([f"down {result.instance.id} would remove:", *(f"  {x}" for x in names)])
    removed = counted(
        (len(result.removed.containers), "container"),
        (len(result.removed.networks), "network"),
        (len(result.removed.volumes), "volume"),
    )
    if not removed:
        line = f"{result.instance.id} was not running."
    else:
        line = f"{result.instance.id} is down: removed {removed}."
    kept = counted((len(result.volumes_kept), "volume"))
    return line + (f" Kept {kept} (remove with --volumes)." if kept else "")


def counted(*counts: tuple[int, str]) -> str:
    """`2 containers, 1 network`; what there is none of is left out."""
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts if n)


def destruction_plan(plan: DestroyPlan) -> str:
    """Exactly what destroy would remove."""
    lines = [f"destroy {plan.instance.id} would remove:"]
    lines += [f"  {name}" for name in plan.resources.names()]
    lines += [f"  image {image}" for image in plan.images]
    if plan.directory is not None:
        lines.append(f"  directory {plan.directory}")
        lines += _ignored(plan.ignored)
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


def _ignored(names: Sequence[str]) -> list[str]:
    """The first few of what goes though nobody will be asked about it."""
    if not names:
        return []
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return [f"    with what git ignores in it: {printable(', '.join(names[:10]))}{more}"]


def _kept(plan: DestroyPlan) -> list[str]:
    lines = []
    if plan.kept_because is not None:
        lines.append(f"The directory {plan.instance.path} stays: {plan.kept_because}.")
    if plan.branch is not None and plan.directory is not None:
        lines.append(f"The branch {plan.branch} stays.")
    return lines


def destruction(plan: DestroyPlan) -> str:
    """What destroy did, and what it left in place."""
    lines = [f"Destroyed {plan.instance.id}; slot {plan.instance.slot} is free."]
    lines += _kept(plan)
    if plan.trash is not None:
        lines.append(f"The directory with its unsaved work is in {plan.trash}.")
        if plan.unsaved.commits:
            lines.append(f"Its commits: git fetch '{plan.trash}/lost-commits.bundle' HEAD")
    return "\n".join(lines)


_NO_INSTANCES: Final = "No instances. Create one: ktrdr-sandbox create <name>"


def listing(result: Listing) -> str:
    """The document's table."""
    if not result.instances:
        return _NO_INSTANCES
    rows = [["INSTANCE", "SLOT", "STATUS", "API PORT", "CREATED"]]
    rows += [
        [
            row.instance.id,
            str(row.instance.slot),
            _status(row),
            str(row.api_port),
            _local(row.instance.created_at),
        ]
        for row in result.instances
    ]
    return "\n".join(table(rows))


def _status(found: ListedInstance | InstanceStatus) -> str:
    """With the workers that have not registered, where there are such."""
    workers = found.workers
    if workers is None or workers.registered >= workers.expected:
        return found.status
    return f"{found.status}, {workers.registered} of {workers.expected} workers registered"


def _local(stamp: str) -> str:
    try:
        return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stamp


def instance_status(result: InstanceStatus) -> str:
    """One instance: identity, addresses, containers."""
    instance = result.instance
    pairs = [
        ("Status", _status(result)),
        ("Slot", str(instance.slot)),
        ("Directory", str(instance.path)),
        ("Created", f"{_local(instance.created_at)} UTC by {instance.created_by}"),
        ("Docker", instance.engine.label),
    ]
    pairs += links_of(result.ports) if result.ports else links(result.named_ports)
    pairs.append(("Shared", inventory_text(result.shared)))
    lines = [instance.id, *facts(pairs)]
    if result.containers:
        rows = [["SERVICE", "STATE", "CONTAINER"]]
        rows += [[c.service, c.status, c.name] for c in result.containers]
        rows += [[service, "no container", ""] for service in result.missing]
        lines += ["", *table(rows)]
    else:
        lines += ["", _without_containers(result)]
    return "\n".join(lines)


def _without_containers(result: InstanceStatus) -> str:
    name = result.instance.name
    match result.status:
        case "unknown":
            return "Its Docker engine does not answer."
        case "orphaned":
            return f"Its directory is gone. Remove what is left: {own_commands.on(name, 'destroy')}"
        case _:
            return f"No containers. Start it: {own_commands.on(name, 'up')}"


def statuses(found: Sequence[InstanceStatus]) -> str:
    """All instances, one below the other."""
    return "\n\n".join(instance_status(one) for one in found) or _NO_INSTANCES


def question(plan: DestroyPlan, instance: Instance) -> str:
    """What destroy asks on a terminal."""
    return destruction_plan(plan) + f"\nDestroy {instance.id}?"
