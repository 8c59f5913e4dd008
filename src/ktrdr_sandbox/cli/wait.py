"""ktrdr-sandbox wait."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.gate_outcome import gate_outcome, tell_notices
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.errors import SandboxError


def wait(
    name: options.Name = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="CHECKS",
            help="Only these checks, for example backend,workers. [default: all]",
            show_default=False,
        ),
    ] = None,
    timeout: options.Timeout = None,
    json_mode: options.Json = False,
) -> None:
    """Wait until a stack is ready: the Startability Gate alone, for scripts."""
    with command("wait", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import up
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.console.watching import watching
        from ktrdr_sandbox.gate.result import CHECK_NAMES, CheckName

        wanted = None
        if only is not None:
            names = frozenset(part.strip() for part in only.split(","))
            unknown = sorted(names - set(CHECK_NAMES))
            if unknown:
                raise SandboxError(
                    "usage",
                    f"There is no check '{unknown[0]}'. Checks: {', '.join(CHECK_NAMES)}.",
                )
            wanted = cast("frozenset[CheckName]", names)
        context = command_context(output)
        instance = instance_of(context, name)
        with gate_outcome(output), watching(output) as view:
            done = up.wait(context, instance, timeout=timeout, only=wanted, observe=view.gate)
        tell_notices(output, done)
        output.result(text.startup(done), data.startup(done))
