"""`--all` of up, down and destroy: the command on every instance, and one status for all."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from ktrdr_sandbox.cli import exit_codes
from ktrdr_sandbox.console.output import Output, on_terminal
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import Instance


def refuse_with_all(*given: tuple[str, object]) -> None:
    """Raises `usage` for the first of these names that has a value: it is for one instance."""
    for name, value in given:
        if value:
            raise SandboxError("usage", f"{name} is for one instance and does not go with --all.")


def run_on_all(
    output: Output, instances: Sequence[Instance], arguments: Sequence[str], *, jobs: int | None
) -> None:
    """Run a command on each, tell of each as it ends, and leave with the worst of the statuses."""
    from ktrdr_sandbox.commands import parallel_runs
    from ktrdr_sandbox.console import fleet as shown

    command = arguments[0]

    told: set[str] = set()

    def tell(report: parallel_runs.Report) -> None:
        for line in shown.messages(report, but=told):
            output.progress(line)
        told.update(report.messages)  # what is about the machine, each of them would tell
        for line in shown.ended(command, report):
            output.part(line, failed=not report.ok)

    at_once = jobs or parallel_runs.AT_ONCE
    found = parallel_runs.on_each(instances, arguments, at_once=at_once, ended=tell)
    summary, data = shown.summary(command, found), shown.data(found)
    if not found.failed:
        output.result(summary, data)
        return
    if output.json_mode:
        names = [report.instance.id for report in found.failed]
        code: ErrorCode = "interrupted" if found.interrupted else "some-failed"
        output.failure(SandboxError(code, summary, details={"failed": names}), data=data)
    else:
        output.part(summary, failed=True)
    statuses = [report.exit_code for report in found.failed]
    status = exit_codes.worst([one for one in statuses if one is not None and one > 0])
    raise typer.Exit(exit_codes.INTERRUPTED if found.interrupted else status)


def confirm_on_terminal(question: str, *, json_mode: bool) -> None:
    """Ask before something is removed. Raises `confirmation-needed` without a terminal."""
    if json_mode or not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
        raise SandboxError(
            "confirmation-needed",
            "destroy asks before it removes, and there is no terminal to ask on.",
            hints=("Add --yes, or look first with --dry-run.",),
        )
    if not typer.confirm(question, default=False, err=True):
        raise SandboxError("interrupted", "Nothing was removed.")
