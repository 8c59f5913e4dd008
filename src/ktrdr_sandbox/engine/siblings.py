"""This program run again, several times at once: one process for each instance that is acted on.

Processes and not threads: each has its own event loop, its own interrupt and its own streams, and
what ends one leaves the others alone. Each is the leader of a process group, so that Ctrl-C at the
terminal reaches this process only, which passes it on exactly once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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
