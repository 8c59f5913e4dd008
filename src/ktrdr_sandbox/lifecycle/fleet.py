"""One command on every instance: each in a process of its own, as if it were typed alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox.engine.siblings import Ended, Siblings
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance

AT_ONCE: Final = 3
"""A start keeps two cores busy for some seconds; more at once make each slower, not all quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the command ended for one instance: the parts of its own envelope, and its status.

    `exit_code` is None where it was never begun, after an interrupt.
    """

    instance: Instance
    exit_code: int | None
    data: dict[str, Any] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    error: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """All of them by slot. `interrupted`: somebody did not want to wait for the rest."""

    reports: tuple[Report, ...]
    interrupted: bool

    @property
    def failed(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if not report.ok)


def everyone(place: Workplace) -> list[Instance]:
    """Every registered instance, by slot."""
    return sorted(place.registry.read().instances.values(), key=lambda one: one.slot)


def on_each(
    instances: Sequence[Instance],
    arguments: Sequence[str],
    *,
    at_once: int,
    ended: Callable[[Report], None],
) -> FleetReport:
    """Run `<command> NAME <options>` for each instance; `ended` is told of each as it ends.

    `arguments` are the command and its options.
    """
    command, *options = arguments
    # The id and not the name: one that begins with a dash would be no option either.
    lines = [[command, *options, "--json", "--", one.id] for one in instances]
    found: dict[int, Report] = {}

    def take(one: Ended) -> None:
        found[one.index] = _report(instances[one.index], one)
        ended(found[one.index])

    whole = Siblings(lines, at_once=at_once).run(take)
    return FleetReport(
        reports=tuple(
            found.get(index, Report(instance=one, exit_code=None))
            for index, one in enumerate(instances)
        ),
        interrupted=not whole,
    )


def _report(instance: Instance, one: Ended) -> Report:
    try:
        document = json.loads(one.stdout)
    except ValueError:
        return Report(instance=instance, exit_code=one.exit_code, error=_without_word(one) or None)
    return Report(
        instance=instance,
        exit_code=one.exit_code,
        data=document["data"],
        messages=tuple(document["messages"]),
        error=document["error"],
    )


def _without_word(one: Ended) -> dict[str, Any]:
    """The error of a process that was killed, or that died before it could tell of it."""
    if one.exit_code is None:
        return {}
    code = "interrupted" if one.exit_code in (130, -2, -9, -15) else "internal"
    last = (one.stderr.strip().splitlines() or [""])[-1]
    message = (
        f"It ended with status {one.exit_code} and said {last!r}."
        if last
        else (f"It ended with status {one.exit_code} and said nothing.")
    )
    return {"code": code, "message": message, "hints": [], "details": {}}
