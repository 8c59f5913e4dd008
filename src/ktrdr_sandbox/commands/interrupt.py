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

IN_ALL: Final = 1.1  # seconds to the last word: the prompt is to be back within two
_QUIET: Final = 0.15  # seconds between two looks that must show the same


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
        looks: list[dict[str, str]] = []
        settled = run_in_background(lambda: _look_until_settled(engine, instance.uuid, looks))
        more = ""
        try:
            settled.result(timeout=max(0.0, until - time.monotonic()))
        except (TimeoutError, SandboxError):
            engine.end_commands(at_once=True)
            more = " so far"
        raise _interrupted(looks[-1] if looks else None, more) from None


def _look_until_settled(engine: Engine, uuid: str, looks: list[dict[str, str]]) -> None:
    """Add the state of each container, by id, until two looks show the same. Blocking.

    The engine finishes a start that it has begun, whether anyone waits for it or not, and answers
    `inspect` of that container only then.
    """
    while True:
        found = engine.containers(uuid=uuid)
        if not looks:
            looks.append({container.id: container.state for container in found})
        details = engine.inspect([container.id for container in found])
        looks.append({detail.id: detail.state for detail in details})
        if len(looks) > 2 and looks[-1] == looks[-2]:
            return
        time.sleep(_QUIET)


def _interrupted(states: dict[str, str] | None, more: str) -> SandboxError:
    if states is None:
        message = "Interrupted. Docker gives no answer, so what runs is not known."
        return SandboxError("interrupted", message, details={"containers": None, "running": None})
    running = sum(state == "running" for state in states.values())
    message = f"Interrupted: {running} of its {len(states)} containers run{more}."
    if not states:
        message = f"Interrupted: it has no container{more}."
    details = {"containers": len(states), "running": running}
    return SandboxError("interrupted", message, details=details)
