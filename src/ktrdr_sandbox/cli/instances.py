"""create, init, move and destroy: what makes instances, and what ends them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from typer import Argument, Option

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.cli import completion, params
from ktrdr_sandbox.cli.all_instances import refuse_with_all, run_on_all
from ktrdr_sandbox.cli.boundary import command, confirm, leave_with_failure
from ktrdr_sandbox.cli.wiring import command_context, instance_of, instance_to_end
from ktrdr_sandbox.commands import create as creating
from ktrdr_sandbox.commands import destroy as destroying
from ktrdr_sandbox.commands import hooks, parallel_runs
from ktrdr_sandbox.commands import move as moving
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.console import results, text
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT, Instance


def create(
    name: Annotated[
        str, Argument(help="Instance name (will be prefixed with ktrdr--).", metavar="NAME")
    ],
    branch: Annotated[
        str | None,
        Option(
            "--branch",
            help="Git branch to check out. [default: NAME, made at the current commit if new]",
            autocompletion=completion.branches,
        ),
    ] = None,
    slot: params.Slot = None,
    dry_run: params.DryRun = False,
) -> None:
    """Create a sandbox instance: a git worktree beside the main one, with its own port slot."""
    interrupted = "An instance that 'list' shows is complete."
    with command("create", when_interrupted=interrupted) as output:
        context = command_context(output, purpose=f"create {name}")
        made = creating.create(context, name=name, branch=branch, slot=slot, dry_run=dry_run)
        for sentence in (*text.skipped(made), *text.left_out(made)):
            output.tell(sentence)
        shown = text.creation(made, verb="Would create" if dry_run else "Created")
        data, failure = results.creation(made), None
        if not dry_run:
            failure = hooks.run_hook(context, made.instance, "after_create", sink=output.progress)
        if failure is not None:
            error = failure.error(result=f"{made.instance.id} was created all the same.")
            leave_with_failure(output, shown, data, error, told=False)
        output.result(shown, data)


def init(slot: params.Slot = None, dry_run: params.DryRun = False) -> None:
    """Make the current checkout an instance (for existing clones and worktrees)."""
    with command("init") as output:
        made = creating.init(command_context(output), slot=slot, dry_run=dry_run)
        for sentence in text.skipped(made):
            output.tell(sentence)
        verb = "Would initialise" if dry_run else "Initialised"
        output.result(text.creation(made, verb=verb), results.creation(made))


def move(
    slot: Annotated[
        int,
        Option(
            "--slot",
            min=FIRST_SLOT,
            max=LAST_SLOT,
            help="The new port slot.",
            autocompletion=completion.free_slots,
        ),
    ],
    name: params.Name = None,
    dry_run: params.DryRun = False,
) -> None:
    """Give a stopped instance another port slot. Its data stays."""
    with command("move") as output:
        context = command_context(output)
        done = moving.move(context, instance_of(context, name), slot=slot, dry_run=dry_run)
        output.result(text.move(done, dry_run=dry_run), results.fill("MoveData", done))


def destroy(
    name: params.Name = None,
    keep_worktree: Annotated[
        bool, Option("--keep-worktree", help="Don't delete the git worktree/directory.")
    ] = False,
    force: Annotated[
        bool, Option("--force", help="Even with unsaved work: move the directory to the trash.")
    ] = False,
    without_docker: Annotated[
        bool,
        Option("--without-docker", help="Do not ask Docker: for an engine that is gone for good."),
    ] = False,
    now: Annotated[
        bool,
        Option(
            "--now", help="Kill at once, even what writes to folders that outlive the instance."
        ),
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only list exactly what would go.")] = False,
    yes: params.Yes = False,
    every: params.All = False,
    jobs: params.Jobs = None,
) -> None:
    """Completely remove an instance: containers, volumes, networks, worktree, slot.

    Branches always stay. Without a terminal, --yes is needed.
    """
    with command("destroy", when_interrupted="Run 'destroy' again to finish.") as output:
        context = command_context(output)
        look = functools.partial(
            destroying.plan_destroy,
            context,
            keep_worktree=keep_worktree,
            without_docker=without_docker,
        )
        if every:
            refuse_with_all(("NAME", name))
            instances = parallel_runs.all_instances(context)
            if dry_run or (instances and not yes):
                _show_all(output, look, instances, dry_run=dry_run)
            if not dry_run:
                options = {
                    "--yes": True,
                    "--keep-worktree": keep_worktree,
                    "--force": force,
                    "--without-docker": without_docker,
                    "--now": now,
                }
                run_on_all(output, instances, options, jobs=jobs)
            return
        instance = instance_to_end(context, name)
        if instance is None:
            output.result("Nothing is left of it.", {"instance": None})
            return
        with _hint_at_lost_engine(instance):
            plan = look(instance)
            if dry_run:
                output.result(text.destruction_plan(plan), results.destroy_plan(plan))
                return
            if force or not plan.unsaved:  # a refusal needs no question, and no hook before it
                if not yes:
                    _confirm(output, f"{text.destruction_plan(plan)}\nDestroy {instance.id}?")
                _run_hook(context, instance, output, force=force)
            done = destroying.destroy(
                context,
                instance,
                keep_worktree=keep_worktree,
                force=force,
                without_docker=without_docker,
                now=now,
                progress=output.progress,
            )
        output.result(text.destruction(done), results.destroy_plan(done, done=True))


def _show_all(
    output: Output,
    look: Callable[[Instance], destroying.DestroyPlan],
    instances: list[Instance],
    *,
    dry_run: bool,
) -> None:
    """List what would go of all, as the result or for one question about everything.

    One that cannot be looked at stops no other. Raises `confirmation-needed`, `interrupted`.
    """
    parts, plans = [], []
    for instance in instances:
        try:
            plan = look(instance)
        except SandboxError as error:
            parts.append(f"{instance.id} cannot be looked at: {error.message}")
        else:
            parts.append(text.destruction_plan(plan))
            plans.append(results.destroy_plan(plan))
    shown = "\n\n".join(parts)
    if dry_run:
        output.result(shown or "There is no instance.", {"instances": plans})
        return
    meant = instances[0].id if len(instances) == 1 else f"all {len(instances)} instances"
    _confirm(output, f"{shown}\n\nDestroy {meant}?")


def _confirm(output: Output, question: str) -> None:
    confirm(
        output,
        question,
        refusal="destroy asks before it removes, and there is no terminal to ask on.",
        hint="Add --yes, or look first with --dry-run.",
        declined="Nothing was removed.",
    )


def _run_hook(context: Context, instance: Instance, output: Output, *, force: bool) -> None:
    """Run the hook, whose failure stops the destroy unless it is forced. Raises `hook-failed`."""
    try:
        failure = hooks.run_hook(context, instance, "before_destroy", sink=output.progress)
        if failure is not None:
            raise failure.error(result="" if force else "Nothing was removed.")
    except SandboxError as error:  # also settings that cannot be read: a hook may be among them
        if not force:
            error.hints = (*error.hints, "With --force it is destroyed all the same.")
            raise
        output.tell(error.message)


@contextmanager
def _hint_at_lost_engine(instance: Instance) -> Iterator[None]:
    """Tell the way out for an instance whose engine will never answer again."""
    try:
        yield
    except SandboxError as error:
        if error.code in ("docker-not-answering", "docker-missing"):
            way_out = own_commands.on(instance.name, "destroy", "--without-docker")
            error.hints = (*error.hints, f"If that engine is gone for good: {way_out}")
        raise
