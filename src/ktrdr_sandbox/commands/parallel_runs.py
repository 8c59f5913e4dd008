"""One command on every instance: each in a process of its own, as if it were typed alone."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.models import Instance

PATIENCE: Final = 5.0
"""Seconds that an interrupted sibling may take to tell how things stand; two is what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One sibling that has ended, or was never begun (`exit_code` None) after an interrupt."""

    index: int
    exit_code: int | None
    stdout: str
    stderr: str


class Siblings:
    """Runs command lines of this program, at most `at_once` of them at a time."""

    def __init__(self, commands: Sequence[Sequence[str]], *, at_once: int) -> None:
        self._commands = commands
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._starting = threading.Lock()
        self._at_once = min(at_once, len(commands))

    def run(self, on_end: Callable[[Ended], None]) -> bool:
        """Run all of them; `on_end` is called here for each as it ends. Whether none was cut short.

        An interrupt is passed on, and those under way are waited for: each ends as it does alone. A
        second one kills them.
        """
        for index in range(len(self._commands)):
            self._waiting.put(index)
        for _ in range(self._at_once):
            threading.Thread(target=self._work, name="sibling", daemon=True).start()
        left = len(self._commands)
        try:
            while left:
                one = self._ended.get()
                left -= 1
                on_end(one)
        except KeyboardInterrupt:
            self._interrupt(left, on_end)
            return False
        finally:
            if left and not self._stopped:  # what is told of them failed
                self._signal(signal.SIGINT)
        return True

    def _interrupt(self, left: int, on_end: Callable[[Ended], None]) -> None:
        try:
            self._signal(signal.SIGINT)
            until = time.monotonic() + PATIENCE
            while left:
                on_end(self._ended.get(timeout=max(0.0, until - time.monotonic())))
                left -= 1
        except (KeyboardInterrupt, queue.Empty):
            self._signal(signal.SIGKILL)
            with contextlib.suppress(queue.Empty):
                while left:
                    on_end(self._ended.get(timeout=1.0))
                    left -= 1

    def _signal(self, number: signal.Signals) -> None:
        with self._starting:
            self._stopped = True
            for child in self._running:
                if child.poll() is None:
                    child.send_signal(number)

    def _work(self) -> None:
        while True:
            try:
                index = self._waiting.get_nowait()
            except queue.Empty:
                return
            child = self._start(index)
            if child is None:
                self._ended.put(Ended(index=index, exit_code=None, stdout="", stderr=""))
                continue
            stdout, stderr = child.communicate()
            with self._starting:
                self._running.discard(child)
            code = child.returncode
            self._ended.put(Ended(index=index, exit_code=code, stdout=stdout, stderr=stderr))

    def _start(self, index: int) -> subprocess.Popen[str] | None:
        with self._starting:
            if self._stopped:
                return None
            child = subprocess.Popen(
                [sys.executable, "-m", "ktrdr_sandbox", *self._commands[index]],
                env=dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                process_group=0,
            )
            self._running.add(child)
            return child


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


def everyone(context: Context) -> list[Instance]:
    """Every registered instance, by slot."""
    return sorted(context.registry.read().instances.values(), key=lambda one: one.slot)


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
