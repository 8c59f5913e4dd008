"""The Typer application: its commands, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from ktrdr_sandbox.cli import exit_codes, flags, said
from ktrdr_sandbox.cli.completion import completion
from ktrdr_sandbox.cli.config import config
from ktrdr_sandbox.cli.create import create
from ktrdr_sandbox.cli.demo import demo
from ktrdr_sandbox.cli.destroy import destroy
from ktrdr_sandbox.cli.doctor import doctor
from ktrdr_sandbox.cli.down import down
from ktrdr_sandbox.cli.env import env
from ktrdr_sandbox.cli.exec import execute
from ktrdr_sandbox.cli.explain import explain
from ktrdr_sandbox.cli.gc import gc
from ktrdr_sandbox.cli.init import init
from ktrdr_sandbox.cli.init_shared import init_shared
from ktrdr_sandbox.cli.isolate import isolate
from ktrdr_sandbox.cli.list import list_instances
from ktrdr_sandbox.cli.logs import logs
from ktrdr_sandbox.cli.move import move
from ktrdr_sandbox.cli.open import open_tool
from ktrdr_sandbox.cli.run import run_command
from ktrdr_sandbox.cli.schema import schema
from ktrdr_sandbox.cli.status import status
from ktrdr_sandbox.cli.up import up
from ktrdr_sandbox.cli.url import url
from ktrdr_sandbox.cli.version import show_version
from ktrdr_sandbox.cli.wait import wait
from ktrdr_sandbox.errors import SandboxError

app = typer.Typer(
    name="ktrdr-sandbox",
    help="One complete, isolated KTRDR stack per git branch.",
    no_args_is_help=False,
    add_completion=False,  # there is `completion`, which is quicker and knows instances
    # Plain help: no boxes and no colours to strip where it is piped.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

app.command()(create)
app.command()(init)
app.command()(up)
app.command()(down)
app.command()(destroy)
app.command("list")(list_instances)
app.command()(status)
app.command()(logs)
app.command()(move)
app.command()(wait)
app.command()(isolate)
app.command()(env)
app.command()(url)
# All that follows the first word of the command is the command's own.
app.command("run", context_settings={"allow_interspersed_args": False})(run_command)
app.command("exec", context_settings={"allow_interspersed_args": False})(execute)
app.command("open")(open_tool)
app.command()(doctor)
app.command()(gc)
app.command("init-shared")(init_shared)
app.command()(demo)
app.command()(schema)
app.command()(explain)
app.command()(completion)
app.add_typer(config, name="config")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit; with --verbose, those of all tools."
        ),
    ] = False,
) -> None:
    """One complete, isolated KTRDR stack per git branch."""
    if version:
        show_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        flags.show_help(context)


flags.share(app)

# Typer bundles click under a private name; this is its public way to the base of usage errors.
_CLICK_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[2])


def run(arguments: Sequence[str], *, program: str = "ktrdr-sandbox") -> int:
    """Run one command line and return its exit status: 64, not Typer's 2, for wrong usage.

    `program` is how it was called: `ktrdr sandbox` is the same.
    """
    said.begin(arguments)
    try:
        status = app(list(arguments), prog_name=program, standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:  # by the boundary
        return said.status_of(leaving)
    except (typer.Abort, KeyboardInterrupt):
        said.early_output("").failure(SandboxError("interrupted", "Interrupted."))
        return exit_codes.INTERRUPTED
    except _CLICK_ERROR as error:
        _wrong_usage(error, program)
        return exit_codes.USAGE
    except SandboxError as error:  # help or version that could not be shown
        said.early_output("").failure(error)
        return exit_codes.exit_code("", error.code)
    return status if isinstance(status, int) else exit_codes.SUCCESS


def _wrong_usage(error: Any, program: str) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    message = str(error.format_message()).rstrip(".") + "."
    failure = SandboxError("usage", message, hints=(f"Run '{path} --help'.",))
    said.early_output(path.removeprefix(program).strip()).failure(failure)
