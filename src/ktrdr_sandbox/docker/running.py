"""What runs, asked of every engine at once and only as long as a key press may take."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from ktrdr_sandbox.docker.environment import child_environment, flags
from ktrdr_sandbox.models import LABEL_UUID, EngineAddress

_FORMAT: Final = f'{{{{.Label "{LABEL_UUID}"}}}}'


def running_uuids(
    addresses: Sequence[EngineAddress], inherited: Mapping[str, str], *, patience: float
) -> dict[EngineAddress, frozenset[str]]:
    """Uuids of running containers, by engine; an engine that does not answer in time is left out.

    `patience` is in seconds, for all of them together.
    """
    until = time.monotonic() + patience
    asked = {address: _ask(address, inherited) for address in addresses}
    found = {}
    for address, child in asked.items():
        answer = None if child is None else _answer(child, until - time.monotonic())
        if answer is not None:
            found[address] = frozenset(answer.split())
    return found


def _ask(address: EngineAddress, inherited: Mapping[str, str]) -> subprocess.Popen[str] | None:
    argv = ["docker", *flags(address), "ps", f"--filter=label={LABEL_UUID}", "--format", _FORMAT]
    try:
        return subprocess.Popen(
            argv,
            env=child_environment(inherited, address=address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
    except OSError:
        return None


def _answer(child: subprocess.Popen[str], seconds: float) -> str | None:
    with child:
        try:
            text, _ = child.communicate(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            # A question bears it, and its whole group: `docker` may be a script around another.
            os.killpg(child.pid, 9)
            return None
    return text if child.returncode == 0 else None
