"""Ctrl-C while a stack is acted on: nothing of ours goes on, and how things stand is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance

IN_ALL: Final = 1.1
"""Seconds from the interrupt to the last word: the prompt is to be back within two."""

_QUIET: Final = 0.15
"""Seconds between two looks that must show the same."""

_States = dict[str, str]
"""State of each container, by its id."""


@contextmanager
def interruptible(engine: Engine, instance: Instance) -> Iterator[None]:
    """Turn KeyboardInterrupt into `interrupted`, which says how many containers run.

    The commands under way are ended first: nothing may go on creating containers behind the
    prompt. A second interrupt leaves at once.
    """
    try:
        yield
    except KeyboardInterrupt:
        until = time.monotonic() + IN_ALL
        engine.end_commands()
        looks = _Looks(engine, instance.uuid)
        settled = run_in_background(looks.until_settled)
        try:
            settled.result(timeout=max(0.0, until - time.monotonic()))
        except (TimeoutError, SandboxError):
            engine.end_commands(at_once=True)
        raise _interrupted(looks) from None


class _Looks:
    """What the engine says of an instance's containers: `latest`, None before its first word."""

    def __init__(self, engine: Engine, uuid: str) -> None:
        self.latest: _States | None = None
        self.settled = False
        self._engine = engine
        self._uuid = uuid

    def until_settled(self) -> None:
        """Blocking. The engine finishes a start that it has begun, whether anyone waits for it or
        not, and answers `inspect` of that container only then."""
        while not self.settled:
            before = self.latest
            found = self._engine.containers(uuid=self._uuid)
            if before is None:
                self.latest = {container.id: container.state for container in found}
            details = self._engine.inspect([container.id for container in found])
            self.latest = {detail.id: detail.state for detail in details}
            self.settled = self.latest == before
            time.sleep(0.0 if self.settled else _QUIET)


def _interrupted(looks: _Looks) -> SandboxError:
    states, more = looks.latest, "" if looks.settled else " so far"
    if states is None:
        message = "Interrupted. Docker gives no answer, so what runs is not known."
        return SandboxError("interrupted", message, details={"containers": None, "running": None})
    running = sum(state == "running" for state in states.values())
    message = f"Interrupted: {running} of its {len(states)} containers run{more}."
    if not states:
        message = f"Interrupted: it has no container{more}."
    details = {"containers": len(states), "running": running}
    return SandboxError("interrupted", message, details=details)
