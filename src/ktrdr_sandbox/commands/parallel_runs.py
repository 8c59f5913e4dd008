"""One command on every instance: each in a process of its own, as if it were typed alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.models import Instance

AT_ONCE: Final = 3  # a start keeps two cores busy; more at once make each slower, not all quicker
PATIENCE: Final = 5.0  # seconds for interrupted runs to tell how things stand; two is their need


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
    """List every registered instance, by slot."""
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
    runs: dict[str, Run] = {}
    children = _Children()
    interrupted = False
    with ThreadPoolExecutor(max_workers=max(1, at_once)) as pool:
        left = {pool.submit(children.run, instance, arguments) for instance in instances}

        def collect(timeout: float | None = None) -> None:
            for future in as_completed(set(left), timeout=timeout):
                left.discard(future)
                run = future.result()
                runs[run.instance.id] = run
                ended(run)

        try:
            collect()
        except KeyboardInterrupt:
            interrupted = True
            try:
                children.stop(signal.SIGINT)
                collect(PATIENCE)
            except (KeyboardInterrupt, TimeoutError):
                children.stop(signal.SIGKILL)
                collect()
        finally:
            children.stop(signal.SIGINT)  # where telling of one has failed
    return AllRuns(runs=tuple(runs[instance.id] for instance in instances), interrupted=interrupted)


class _Children:
    """The processes that run, for the signals that end them all."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def stop(self, number: signal.Signals) -> None:
        """Begin no more, and send a signal to those that run."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.send_signal(number)

    def run(self, instance: Instance, arguments: Sequence[str]) -> Run:
        command, *options = arguments
        # The id and not the name: one that begins with a dash would be no option either.
        line = [command, *options, "--json", "--", instance.id]
        with self._lock:
            if self._stopped:
                return Run(instance=instance, exit_code=None)
            child = subprocess.Popen(
                [sys.executable, "-m", "ktrdr_sandbox", *line],
                env=dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                process_group=0,
            )
            self._running.add(child)
        stdout, stderr = child.communicate()
        with self._lock:
            self._running.discard(child)
        status = child.returncode
        try:
            said = json.loads(stdout)
        except ValueError:  # it was killed, or died before it could tell of it
            last = repr(stderr.strip().splitlines()[-1]) if stderr.strip() else "nothing"
            error: dict[str, Any] = {
                "code": "interrupted" if status in (130, -2, -9, -15) else "internal",
                "message": f"It ended with status {status} and said {last}.",
                "hints": [],
                "details": {},
            }
            said = {"data": {}, "messages": [], "error": error}
        return Run(
            instance=instance,
            exit_code=status,
            data=said["data"],
            messages=tuple(said["messages"]),
            error=said["error"],
        )
