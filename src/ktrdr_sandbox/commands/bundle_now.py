"""A bundle of an instance as it stands, for whoever asks when its start is long over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.commands.bundle import write_bundle
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.up import GateFailedError, wait
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance

PATIENCE: Final = 5.0
"""Seconds for the gate, which is to tell how things are and not to wait until they are well."""


def bundle_now(
    context: Context, instance: Instance, path: Path, *, more: Mapping[str, Any]
) -> None:
    """Write the bundle, with the gate's report as of now. Restarts nothing.

    Raises `file-exists`, `cannot-write`.
    """
    try:
        startup = wait(
            context, instance, timeout=PATIENCE, only=None, observe=lambda _: None, heal=False
        )
    except GateFailedError as failure:
        write_bundle(context, instance, path, gate=failure.startup.gate, more=more)
    except SandboxError as error:
        if error.code == "interrupted":
            raise
        write_bundle(context, instance, path, error=error, more=more)
    else:
        write_bundle(context, instance, path, gate=startup.gate, more=more)
