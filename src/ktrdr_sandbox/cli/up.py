"""ktrdr-sandbox up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.fleet import refuse_with_all, run_on_all
from ktrdr_sandbox.cli.gate_outcome import gate_outcome, tell_notices
from ktrdr_sandbox.cli.hook_outcome import conclude
from ktrdr_sandbox.cli.wiring import command_context, instance_of


def up(
    name: options.Name = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for the Startability Gate.")
    ] = False,
    build: Annotated[bool, typer.Option("--build", help="Force rebuild of images.")] = False,
    timeout: options.Timeout = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be laid over the Compose file.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Write a new .tar.gz with what a report of the outcome needs: the gate's report, "
            "logs, Compose model, versions. Secrets are hidden.",
            show_default=False,
        ),
    ] = None,
    every: options.All = False,
    jobs: options.Jobs = None,
    json_mode: options.Json = False,
) -> None:
    """Start the stack and prove it ready (Startability Gate)."""
    interrupted = "'up' goes on with it, 'down' stops it."
    with command("up", json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.commands import compose_project, up
        from ktrdr_sandbox.commands.hooks import end_left_over, run_hook
        from ktrdr_sandbox.commands.parallel_runs import everyone
        from ktrdr_sandbox.console import data, text
        from ktrdr_sandbox.console.watching import watching
        from ktrdr_sandbox.shared.inventory import is_empty

        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name), ("--dry-run", dry_run), ("--bundle", bundle))
            chosen_options = [*(["--no-wait"] if no_wait else []), *(["--build"] if build else [])]
            chosen_options += [f"--timeout={timeout}"] if timeout is not None else []
            run_on_all(output, everyone(context), ["up", *chosen_options], jobs=jobs)
            return
        instance = instance_of(context, name)
        if dry_run:
            found = compose_project.compose(context, instance, context.engine(instance.engine))
            output.result(text.isolation(found), data.isolation(found))
            return
        end_left_over(context, instance)
        target = None if bundle is None else context.cwd / bundle
        chosen = up.UpOptions(wait=not no_wait, build=build, timeout=timeout, bundle=target)
        with gate_outcome(output), watching(output) as view:
            done = up.up(context, instance, chosen, progress=view.line, observe=view.gate)
        if is_empty(context.home.shared):
            output.tell(
                "The shared folder is empty: 'ktrdr-sandbox init-shared --minimal' fills it."
            )
        tell_notices(output, done)
        ready = done.gate is not None
        failure = (
            run_hook(context, instance, "after_ready", sink=output.progress) if ready else None
        )
        conclude(
            output,
            text.startup(done),
            data.startup(done),
            failure=failure,
            result=f"{instance.id} runs all the same.",
        )
