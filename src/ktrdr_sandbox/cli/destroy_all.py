"""`destroy --all`: everything is listed and asked about once; one that refuses stops no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktrdr_sandbox.cli.fleet import confirm_on_terminal, run_on_all
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.console.output import Output
from ktrdr_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.destroy import DestructionPlan
    from ktrdr_sandbox.models import Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The options of destroy that hold for each instance."""

    keep_worktree: bool
    force: bool
    without_docker: bool
    yes: bool

    def options(self) -> list[str]:
        flags = {
            "--keep-worktree": self.keep_worktree,
            "--force": self.force,
            "--without-docker": self.without_docker,
        }
        return [flag for flag, given in flags.items() if given]


def destroy_all(
    output: Output, context: Context, terms: Terms, *, dry_run: bool, jobs: int | None
) -> None:
    """List, ask, and end every instance. Raises `confirmation-needed`, `interrupted`."""
    from ktrdr_sandbox.commands.parallel_runs import everyone
    from ktrdr_sandbox.console import data, text

    instances = everyone(context)
    if dry_run or (instances and not terms.yes):
        found = [_planned(context, one, terms) for one in instances]
        plans = [plan for plan in found if not isinstance(plan, SandboxError)]
        shown = "\n\n".join(
            text.destruction_plan(plan)
            if not isinstance(plan, SandboxError)
            else f"{one.id} cannot be looked at: {plan.message}"
            for one, plan in zip(instances, found, strict=True)
        )
        if dry_run:
            plans_data = {"instances": [data.destruction_plan(plan) for plan in plans]}
            output.result(shown or "There is no instance.", plans_data)
            return
        meant = instances[0].id if len(instances) == 1 else f"all {len(instances)} instances"
        confirm_on_terminal(f"{shown}\n\nDestroy {meant}?", json_mode=output.json_mode)
    run_on_all(output, instances, ["destroy", "--yes", *terms.options()], jobs=jobs)


def _planned(context: Context, instance: Instance, terms: Terms) -> DestructionPlan | SandboxError:
    from ktrdr_sandbox.commands import destroy

    try:
        return destroy.plan_destruction(
            context,
            instance,
            keep_worktree=terms.keep_worktree,
            without_docker=terms.without_docker,
        )
    except SandboxError as error:
        return error
