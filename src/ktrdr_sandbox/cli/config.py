"""ktrdr-sandbox config show, schema, path, approve."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktrdr_sandbox.cli import flags, options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.console.output import on_terminal
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.redaction import redact

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.configuration import Request
    from ktrdr_sandbox.commands.context import Context

config = typer.Typer(
    help="Settings: values, origins, approval.",
    no_args_is_help=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)

Checkout = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Instance. Left out: the checkout that the current directory is in.",
        show_default=False,
    ),
]


@config.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Settings: values, origins, approval."""
    if context.invoked_subcommand is None:
        flags.show_help(context)


@config.command()
def show(
    name: Checkout = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what is not the default.")
    ] = False,
    json_mode: options.Json = False,
) -> None:
    """Each setting, its value, and where it came from."""
    with command("config show", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import configuration
        from ktrdr_sandbox.console import configuration as shown

        context = command_context(output)
        found = configuration.survey(context, _checkout(context, name))
        for remark in found.remarks:
            output.tell(remark)
        output.result(
            shown.survey(found, changed=changed), shown.survey_data(found, changed=changed)
        )


@config.command()
def schema(json_mode: options.Json = False) -> None:
    """JSON Schema of a settings file, for editors."""
    with command("config schema", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import configuration

        found = configuration.schema()
        output.result(json.dumps(found, indent=2), {"schema": dict(found)})


@config.command()
def path(name: Checkout = None, json_mode: options.Json = False) -> None:
    """The settings files that count here, strongest first."""
    with command("config path", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import configuration
        from ktrdr_sandbox.console import configuration as shown

        context = command_context(output)
        found = configuration.files(context, _checkout(context, name))
        output.result(shown.files(found), shown.files_data(found))


@config.command()
def approve(
    name: Checkout = None, yes: options.Yes = False, json_mode: options.Json = False
) -> None:
    """Let a checkout's settings file run hooks, publish ports or lift refusals: exactly as it is.

    Without a terminal, --yes is needed.
    """
    with command("config approve", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import configuration
        from ktrdr_sandbox.console import configuration as shown

        context = command_context(output)
        wanted = configuration.request(context, _needed(context, name))
        if wanted.asked is not None and not wanted.approved:
            _refuse_hidden(wanted)
            if not yes:
                _confirm(shown.question(wanted), shown.request(wanted), json_mode=json_mode)
            configuration.grant(context, wanted)
        output.result(shown.approval(wanted), shown.request_data(wanted))


def _checkout(context: Context, name: str | None) -> Path | None:
    from ktrdr_sandbox.commands.configuration import checkout_around

    return instance_of(context, name).path if name else checkout_around(context.cwd)


def _needed(context: Context, name: str | None) -> Path:
    found = _checkout(context, name)
    if found is None:
        raise SandboxError(
            "not-a-repository",
            f"{context.cwd} is not inside a git repository with a working tree.",
            hints=("Go to the checkout, or name an instance.",),
            details={"path": str(context.cwd)},
        )
    return found


def _refuse_hidden(wanted: Request) -> None:
    """Nobody can approve what is not shown."""
    from ktrdr_sandbox.console.configuration import request

    text = request(wanted)
    if redact(text) != text:
        raise SandboxError(
            "bad-settings",
            f"{wanted.checkout} sets something that looks like a secret, which would be hidden "
            "here, so it cannot be approved.",
            hints=("Let the hook read it from a file or a variable.",),
            details={"shown": text},
        )


def _confirm(question: str, shown: str, *, json_mode: bool) -> None:
    if json_mode or not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
        raise SandboxError(
            "confirmation-needed",
            f"{shown}\nconfig approve asks, and there is no terminal to ask on.",
            hints=("If that may be so, add --yes.",),
        )
    if not typer.confirm(question, default=False, err=True):
        raise SandboxError("interrupted", "Nothing was approved.")
