"""config show, schema, path and approve: the settings and their approval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ktrdr_sandbox.cli import completion, params
from ktrdr_sandbox.cli.boundary import command, confirm
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.commands import configuration
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.console import reports, results
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.redaction import redact
from ktrdr_sandbox.settings import settings_files

config = typer.Typer(
    help="Settings: values, origins, approval.",
    no_args_is_help=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

Checkout = Annotated[
    str | None,
    Argument(
        metavar="NAME",
        help="Instance. Left out: the checkout that the current directory is in.",
        autocompletion=completion.instances,
    ),
]


@config.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Settings: values, origins, approval."""
    if context.invoked_subcommand is None:
        params.show_help(context)


@config.command()
def show(
    name: Checkout = None,
    changed: Annotated[bool, Option("--changed", help="Only what is not the default.")] = False,
) -> None:
    """Each setting, its value, and where it came from."""
    with command("config show") as output:
        context = command_context(output)
        found = configuration.resolved(context.home, _checkout(context, name))
        for remark in found.remarks.values():
            output.tell(remark)
        every = found.each().values()
        shown = [one for one in every if not changed or one.origin.kind != "default"]
        output.result(reports.settings(shown), results.settings(found, shown))


@config.command()
def schema() -> None:
    """JSON Schema of a settings file, for editors."""
    with command("config schema") as output:
        found = configuration.json_schema()
        output.result(json.dumps(found, indent=2), {"schema": found})


@config.command()
def path(name: Checkout = None) -> None:
    """The settings files that count here, strongest first."""
    with command("config path") as output:
        context = command_context(output)
        found = settings_files(context.home, _checkout(context, name))
        text = "\n".join(f"{path}{'' if path.exists() else ' (not there)'}" for path in found)
        files = [{"path": str(path), "exists": path.exists()} for path in found]
        output.result(text, {"files": files})


@config.command()
def approve(name: Checkout = None, yes: params.Yes = False) -> None:
    """Let a checkout's settings file run hooks, publish ports or lift refusals: exactly as it is.

    Without a terminal, --yes is needed.
    """
    with command("config approve") as output:
        context = command_context(output)
        checkout = _checkout(context, name)
        if checkout is None:
            raise SandboxError(
                "not-a-repository",
                f"{context.cwd} is not inside a git repository with a working tree.",
                hints=("Go to the checkout, or name an instance.",),
                details={"path": str(context.cwd)},
            )
        wanted = configuration.resolved(context.home, checkout)
        repository = configuration.repository_of(checkout)
        shown = reports.approval_request(wanted)
        done = f"\nIt was approved before, for {repository}."
        if wanted.asked is None:
            done = ""
        elif not wanted.approved:
            if redact(shown) != shown:  # nobody can approve what is not shown
                raise SandboxError(
                    "bad-settings",
                    f"{checkout} sets something that looks like a secret, which would be hidden "
                    "here, so it cannot be approved.",
                    hints=("Let the hook read it from a file or a variable.",),
                    details={"shown": shown},
                )
            if not yes:
                confirm(
                    output,
                    f"{shown}\nApprove exactly this for {repository}?",
                    refusal=f"{shown}\nconfig approve asks, and there is no terminal to ask on.",
                    hint="If that may be so, add --yes.",
                    declined="Nothing was approved.",
                )
            configuration.approve(context, checkout, wanted.asked.digest)
            done = f"\nApproved, for {repository}."
        output.result(f"{shown}{done}", results.approval(wanted, repository))


def _checkout(context: Context, name: str | None) -> Path | None:
    if name:
        return instance_of(context, name).path
    return configuration.checkout_around(context.cwd)
