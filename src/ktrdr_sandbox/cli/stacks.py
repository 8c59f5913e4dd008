"""up, wait, down, isolate and demo: what starts stacks, proves and stops them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

from typer import Option

from ktrdr_sandbox.cli import params
from ktrdr_sandbox.cli.all_instances import refuse_with_all, run_on_all
from ktrdr_sandbox.cli.boundary import command, leave_with_failure
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.commands import compose_project, hooks, parallel_runs
from ktrdr_sandbox.commands import demo as demonstrating
from ktrdr_sandbox.commands import down as stopping
from ktrdr_sandbox.commands import up as starting
from ktrdr_sandbox.console import reports, results, start_view, text
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.result import CHECK_NAMES, CheckName
from ktrdr_sandbox.paths import demo_folder
from ktrdr_sandbox.shared.inventory import is_empty


def _checks_after_comma(incomplete: str) -> list[str]:
    """Checks after the last comma, without those before it."""
    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{name}" for name in CHECK_NAMES if name not in given]


def up(
    name: params.Name = None,
    no_wait: Annotated[
        bool, Option("--no-wait", help="Do not wait for the Startability Gate.")
    ] = False,
    build: Annotated[bool, Option("--build", help="Force rebuild of images.")] = False,
    timeout: params.Timeout = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only show what would be laid over the Compose file.")
    ] = False,
    bundle: Annotated[
        Path | None,
        Option(
            "--bundle",
            metavar="FILE",
            help="Write a new .tar.gz with what a report of the outcome needs: the gate's report, "
            "logs, Compose model, versions. Secrets are hidden.",
        ),
    ] = None,
    every: params.All = False,
    jobs: params.Jobs = None,
) -> None:
    """Start the stack and prove it ready (Startability Gate)."""
    interrupted = "'up' goes on with it, 'down' stops it."
    with command("up", when_interrupted=interrupted) as output:
        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name), ("--dry-run", dry_run), ("--bundle", bundle))
            options = {"--no-wait": no_wait, "--build": build, f"--timeout={timeout}": timeout}
            run_on_all(output, parallel_runs.all_instances(context), options, jobs=jobs)
            return
        instance = instance_of(context, name)
        if dry_run:
            found = compose_project.compose(context, instance, context.engine(instance.engine))
            output.result(reports.isolation(found), results.isolation(found))
            return
        hooks.end_left_over(context, instance)
        target = None if bundle is None else context.cwd / bundle
        chosen = starting.UpOptions(wait=not no_wait, build=build, timeout=timeout, bundle=target)
        with _report_of_failed_gate(output), start_view.watching(output) as view:
            done = starting.up(context, instance, chosen, progress=view.line, observe=view.gate)
        if is_empty(context.home.shared):
            fill = "ktrdr-sandbox init-shared --minimal"
            output.tell(f"The shared folder is empty: '{fill}' fills it.")
        _tell_notices(output, done)
        shown, data = text.startup(done), results.startup(done)
        if done.gate is not None:
            failure = hooks.run_hook(context, instance, "after_ready", sink=output.progress)
            if failure is not None:
                error = failure.error(result=f"{instance.id} runs all the same.")
                leave_with_failure(output, shown, data, error, told=False)
        output.result(shown, data)


def wait(
    name: params.Name = None,
    only: Annotated[
        str | None,
        Option(
            "--for",
            metavar="CHECKS",
            help="Only these checks, for example backend,workers. [default: all]",
            autocompletion=_checks_after_comma,
        ),
    ] = None,
    timeout: params.Timeout = None,
) -> None:
    """Wait until a stack is ready: the Startability Gate alone, for scripts."""
    with command("wait") as output:
        wanted = None
        if only is not None:
            names = frozenset(part.strip() for part in only.split(","))
            for unknown in sorted(names - set(CHECK_NAMES)):
                checks = ", ".join(CHECK_NAMES)
                raise SandboxError("usage", f"There is no check '{unknown}'. Checks: {checks}.")
            wanted = cast("frozenset[CheckName]", names)
        context = command_context(output)
        instance = instance_of(context, name)
        with _report_of_failed_gate(output), start_view.watching(output) as view:
            done = starting.wait(context, instance, timeout=timeout, only=wanted, observe=view.gate)
        _tell_notices(output, done)
        output.result(text.startup(done), results.startup(done))


def down(
    name: params.Name = None,
    volumes: Annotated[
        bool, Option("--volumes", help="Also remove volumes (database data, etc.), without asking.")
    ] = False,
    now: Annotated[
        bool, Option("--now", help="Kill at once instead of honouring grace periods.")
    ] = False,
    dry_run: params.DryRun = False,
    every: params.All = False,
    jobs: params.Jobs = None,
) -> None:
    """Stop the stack. Data in volumes is kept unless --volumes is given.

    Volumes without a name go with their containers: nothing could reach them again.
    """
    with command("down", when_interrupted="Run 'down' again to finish.") as output:
        context = command_context(output)
        if every:
            refuse_with_all(("NAME", name), ("--dry-run", dry_run))
            options = {"--volumes": volumes, "--now": now}
            run_on_all(output, parallel_runs.all_instances(context), options, jobs=jobs)
            return
        instance, tell = instance_of(context, name), output.progress
        done = stopping.down(
            context, instance, volumes=volumes, now=now, dry_run=dry_run, progress=tell
        )
        output.result(text.shutdown(done, dry_run=dry_run), results.shutdown(done))


def isolate(
    name: params.Name = None,
    explain: Annotated[
        bool, Option("--explain", help="With the reason of each change (the default).")
    ] = True,
    override: Annotated[
        bool, Option("--override", help="Print the override file itself instead.")
    ] = False,
) -> None:
    """Show what is laid over the checkout's Compose file, and why. Changes nothing."""
    with command("isolate") as output:
        context = command_context(output)
        instance = instance_of(context, name)
        found = compose_project.compose(context, instance, context.engine(instance.engine))
        shown = found.override if override or not explain else reports.isolation(found)
        output.result(shown, results.isolation(found))


def demo(
    clean: Annotated[
        bool, Option("--clean", help="Remove everything that the demo made, without asking.")
    ] = False,
    directory: Annotated[
        Path | None,
        Option(
            "--directory",
            metavar="PATH",
            help="Scratch folder. [default: in the user's cache folder]",
        ),
    ] = None,
) -> None:
    """Bring up two complete stacks of a sample application, side by side."""
    interrupted = "Run 'ktrdr-sandbox demo' to go on, or 'demo --clean' to remove everything."
    with command("demo", when_interrupted=interrupted) as output:
        folder = (directory or demo_folder()).absolute()
        context = command_context(output)
        if clean:
            gone = demonstrating.clean(context, folder, step=output.progress)
            ids = [instance.id for instance in gone.destroyed]
            data = results.fill("DemoCleanedData", gone, destroyed=ids, directory=gone.folder)
            output.result(reports.cleanup(gone), data)
            return
        with _report_of_failed_gate(output):
            shown = demonstrating.demonstrate(
                context,
                folder,
                step=output.progress,
                progress=start_view.PlainView(output).line,
                observer=lambda _: start_view.PlainView(output).gate,
            )
        stacks = [results.startup(done) for done in shown.startups]
        output.result(reports.demonstration(shown), {"directory": str(folder), "stacks": stacks})


def _tell_notices(output: Output, done: starting.Startup) -> None:
    """What is worth knowing of a start or its proof and is no failure."""
    for notice in done.notices:
        output.tell(f"note: {notice.service or 'stack'}: {notice.text}")


@contextmanager
def _report_of_failed_gate(output: Output) -> Iterator[None]:
    """Show the gate's report as the result on stdout, and leave with the status that says no."""
    try:
        yield
    except starting.GateFailedError as failure:
        shown, data = text.startup(failure.startup), results.startup(failure.startup)
        leave_with_failure(output, shown, data, failure, told=True)
