"""`--all` of up, down and destroy: the command on every instance, and one status for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from ktrdr_sandbox.cli import error_table
from ktrdr_sandbox.commands import parallel_runs
from ktrdr_sandbox.console import reports, results
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import Instance


def refuse_with_all(*given: tuple[str, object]) -> None:
    """Raises `usage` for the first of these names that has a value: it is for one instance."""
    for name, value in given:
        if value:
            raise SandboxError("usage", f"{name} is for one instance and does not go with --all.")


def run_on_all(
    output: Output,
    instances: Sequence[Instance],
    options: Mapping[str, object],
    *,
    jobs: int | None,
) -> None:
    """Run the command with the options that have a value on each instance.

    Tells of each as it ends, and leaves with the worst of the statuses.
    """
    command = output.command
    arguments = [command, *(option for option, value in options.items() if value)]
    told: set[str] = set()

    def tell(run: parallel_runs.Run) -> None:
        for line in reports.run_messages(run, but=told):
            output.progress(line)
        told.update(run.messages)  # what is about the machine, each of them would tell
        for line in reports.run_end(command, run):
            output.part(line, failed=not run.ok)

    found = parallel_runs.run_on_each(
        instances, arguments, at_once=jobs or parallel_runs.AT_ONCE, ended=tell
    )
    summary, data = reports.run_summary(command, found), results.all_runs(found)
    if not found.failed:
        output.result(summary, data)
        return
    if output.json_mode:
        names = [run.instance.id for run in found.failed]
        code: ErrorCode = "interrupted" if found.interrupted else "some-failed"
        output.failure(SandboxError(code, summary, details={"failed": names}), data=data)
    else:
        output.part(summary, failed=True)
    if found.interrupted:
        raise typer.Exit(error_table.INTERRUPTED)
    raise typer.Exit(error_table.worst([run.exit_code or 0 for run in found.failed]))
