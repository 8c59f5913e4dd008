"""A container's own health test, run now instead of waiting for Docker's interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, Engine
from ktrdr_sandbox.errors import SandboxError

LIMIT: Final = 10.0
"""Seconds that a health test may take."""


def command(test: Sequence[str]) -> tuple[str, ...]:
    """The argv of a health test in Docker's form; () when there is none to run."""
    if len(test) < 2:
        return ()
    if test[0] == "CMD":
        return tuple(test[1:])
    if test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", test[1])
    return ()


async def health_trouble(engine: Engine, detail: ContainerDetail) -> str | None:
    """What a running container's health test complains of; None when it has none to complain of.

    Docker's `healthy` is believed; its `starting` and `unhealthy` may be half a minute old.
    """
    argv = command(detail.health_test)
    if detail.health == "healthy" or not argv:
        return None
    try:
        result = await in_background(lambda: engine.execute(detail.id, argv, timeout=LIMIT))
    except SandboxError as error:
        return error.message
    if result.exit_code == 0:
        return None
    if result.exit_code is None:
        return f"its health test took longer than {LIMIT:g} s"
    return f"its health test failed: {last_line(result.output) or f'exit {result.exit_code}'}"


def last_line(text: str) -> str:
    """The last line that is not empty, or ""."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
