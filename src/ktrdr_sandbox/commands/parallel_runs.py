"""One command on every instance: each in a process of its own, as if it were typed alone."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance

AT_ONCE: Final = 3
"""A start keeps two cores busy for some seconds; more at once make each slower, not all quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the command ended for one instance: the parts of its own document, and its status.

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
class AllRuns:
    """All of them by slot. `interrupted`: somebody did not want to wait for the rest."""

    runs: tuple[Run, ...]
    interrupted: bool

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if not run.ok)


def all_instances(context: Context) -> list[Instance]:
    """Every registered instance, by slot."""
    return sorted(context.registry.read().instances.values(), key=lambda one: one.slot)


def run_on_each(
    instances: Sequence[Instance],
    arguments: Sequence[str],
    *,
    at_once: int,
    ended: Callable[[Run], None],
) -> AllRuns:
    """Run `<command> NAME <options>` for each instance; `ended` is called for each as it ends.

    `arguments` are the command and its options. An interrupt is passed on, and what runs is waited
    for: each ends as it does alone. A second interrupt, or five seconds, kills them.
    """
    interrupted = False
    told = set()
    with ThreadPoolExecutor(max_workers=max(1, at_once)) as pool:
        futures = [pool.submit(_run, instance, arguments) for instance in instances]
        try:
            for future in as_completed(futures):
                told.add(future)
                ended(future.result())
        except KeyboardInterrupt:
            interrupted = True
            with contextlib.suppress(KeyboardInterrupt):
                process.end_all()
            for future in as_completed(set(futures) - told):
                ended(future.result())
        except BaseException:  # telling of one has failed
            process.end_all()
            raise
    return AllRuns(runs=tuple(future.result() for future in futures), interrupted=interrupted)


def _run(instance: Instance, arguments: Sequence[str]) -> Run:
    command, *options = arguments
    # The id and not the name: one that begins with a dash would be no option either.
    line = [command, *options, "--json", "--", instance.id]
    try:
        outcome = process.run(
            [sys.executable, "-m", "ktrdr_sandbox", *line],
            environment=process.current_environment(),
            own_group=True,
            patience=(5.0, 0.0),  # two seconds are what one needs to tell how things stand
        )
    except SandboxError:  # `interrupted`, before it was begun
        return Run(instance=instance, exit_code=None)
    try:
        document = json.loads(outcome.stdout)
    except ValueError:  # it was killed, or died before it could tell of it
        last = (outcome.stderr.strip().splitlines() or [""])[-1]
        said, status = repr(last) if last else "nothing", outcome.exit_code
        error: dict[str, Any] = {
            "code": "interrupted" if status in (130, -2, -9, -15) else "internal",
            "message": f"It ended with status {status} and said {said}.",
            "hints": [],
            "details": {},
        }
        return Run(instance=instance, exit_code=status, error=error)
    return Run(
        instance=instance,
        exit_code=outcome.exit_code,
        data=document["data"],
        messages=tuple(document["messages"]),
        error=document["error"],
    )
