"""ktrdr-sandbox destroy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.destroy_all import Terms, destroy_all
from ktrdr_sandbox.cli.fleet import confirm_on_terminal, refuse_with_all
from ktrdr_sandbox.cli.wiring import command_context, instance_to_end
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance


def destroy(
    name: options.Name = None,
    keep_worktree: Annotated[
        bool, typer.Option("--keep-worktree", help="Don't delete the git worktree/directory.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even with unsaved work: move the directory to the trash."),
    ] = False,
    without_docker: Annotated[
        bool,
        typer.Option(
            "--without-docker", help="Do not ask Docker: for an engine that is gone for good."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list exactly what would go.")
    ] = False,
    yes: options.Yes = False,
    every: options.All = False,
    jobs: options.Jobs = None,
    json_mode: options.Json = False,
) -> None:
    """Completely remove an instance: containers, volumes, networks, worktree, slot.

    Branches always stay. Without a terminal, --yes is needed.
    """
    interrupted = "Run 'destroy' again to finish."
    with command("destroy", json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.commands import destroy
        from ktrdr_sandbox.console import data, text

        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name))
            terms = Terms(
                keep_worktree=keep_worktree, force=force, without_docker=without_docker, yes=yes
            )
            destroy_all(output, context, terms, dry_run=dry_run, jobs=jobs)
            return
        instance = instance_to_end(context, name)
        if instance is None:
            output.result("Nothing is left of it.", {"instance": None})
            return
        with _pointing_out(instance):
            plan = destroy.plan_destruction(
                context, instance, keep_worktree=keep_worktree, without_docker=without_docker
            )
        if dry_run:
            output.result(text.destruction_plan(plan), data.destruction_plan(plan))
            return
        if not yes and not (plan.unsaved and not force):  # a refusal needs no question
            confirm_on_terminal(text.question(plan, instance), json_mode=json_mode)
        if not (plan.unsaved and not force):
            _run_hook(context, instance, output, force=force)
        with _pointing_out(instance):
            done = destroy.destroy(
                context,
                instance,
                keep_worktree=keep_worktree,
                force=force,
                without_docker=without_docker,
            )
        output.result(text.destruction(done), data.destruction(done))


def _run_hook(context: Context, instance: Instance, output: Output, *, force: bool) -> None:
    """The hook's failure stops the destroy, unless it is forced. Raises `hook-failed`."""
    from ktrdr_sandbox.commands.hooks import run_hook

    try:
        failure = run_hook(context, instance, "before_destroy", sink=output.progress)
        if failure is not None:
            raise failure.error(result="" if force else "Nothing was removed.")
    except SandboxError as error:  # also settings that cannot be read: a hook may be among them
        if not force:
            error.hints = (*error.hints, "With --force it is destroyed all the same.")
            raise
        output.tell(error.message)


@contextmanager
def _pointing_out(instance: Instance) -> Iterator[None]:
    """Tell the way out for an instance whose engine will never answer again."""
    try:
        yield
    except SandboxError as error:
        if error.code in ("docker-not-answering", "docker-missing"):
            way_out = own_commands.on(instance.name, "destroy", "--without-docker")
            error.hints = (*error.hints, f"If that engine is gone for good: {way_out}")
        raise
