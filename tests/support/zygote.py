"""Forks of one process that has everything imported: a command without the cost of a start.

A request is a line of JSON on the process's stdin: a list, each of which gets a fork. Answers are
two lines: the forks' process ids, and when all have ended, how, as `subprocess` has it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def serve(act: Callable[[dict[str, Any]], int]) -> None:
    """Run `act` in a fork for each request until stdin ends. It gives the exit status."""
    answers = os.fdopen(os.dup(1), "w")
    gc.freeze()  # what every fork has is not looked through, and so not copied, in each
    for line in sys.stdin:
        children = []
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                sys.exit(act(request))  # past all of this, to the interpreter's own end
            children.append(child)
        print(json.dumps(children), file=answers, flush=True)
        print(json.dumps([ended(child) for child in children]), file=answers, flush=True)


def ended(child: int) -> int:
    """Wait for a fork; its exit status, or minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Zygote:
    """The process that commands are forked from: `module` calls `serve`."""

    def __init__(self, module: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children: list[int] = []

    def run(self, *requests: dict[str, Any]) -> list[int]:
        """Exit statuses of requests that run at the same time.

        A time limit that strikes here leaves no fork, and this unfit for more.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(requests) + "\n")
            self._process.stdin.flush()
            self._children = json.loads(self._process.stdout.readline())
            return list(json.loads(self._process.stdout.readline()))
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it and the forks that it waits for."""
        self._process.kill()
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._end()

    def close(self) -> None:
        """Let it end by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()

    def _end(self) -> None:
        assert self._process.stdout is not None
        self._process.wait(timeout=20)
        self._process.stdout.close()
