"""The Typer application: its commands, and how it is run.

A command is loaded when the command line names it, for all of them together take longer than Typer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple, cast

import typer

from ktrdr_sandbox.cli import exit_codes, flags
from ktrdr_sandbox.errors import SandboxError


class _Listed(NamedTuple):
    """Where a command is: a function in a module of this package, a Typer program for a group."""

    module: str
    function: str
    group: bool = False
    passing: bool = False
    """All that follows the first word of the command is the command's own."""


_COMMANDS: Final = {
    "create": _Listed("create", "create"),
    "init": _Listed("init", "init"),
    "up": _Listed("up", "up"),
    "down": _Listed("down", "down"),
    "destroy": _Listed("destroy", "destroy"),
    "list": _Listed("list", "list_instances"),
    "status": _Listed("status", "status"),
    "logs": _Listed("logs", "logs"),
    "move": _Listed("move", "move"),
    "wait": _Listed("wait", "wait"),
    "isolate": _Listed("isolate", "isolate"),
    "env": _Listed("env", "env"),
    "url": _Listed("url", "url"),
    "run": _Listed("run", "run_command", passing=True),
    "exec": _Listed("exec", "execute", passing=True),
    "open": _Listed("open", "open_tool"),
    "doctor": _Listed("doctor", "doctor"),
    "gc": _Listed("gc", "gc"),
    "init-shared": _Listed("init_shared", "init_shared"),
    "demo": _Listed("demo", "demo"),
    "schema": _Listed("schema", "schema"),
    "explain": _Listed("explain", "explain"),
    "completion": _Listed("completion", "completion"),
    "config": _Listed("config", "config", group=True),
}
"""By name, in the order in which help lists them."""

_BEFORE_COMMANDS: Final = {"--version", "--json", "--quiet", "-q", "--verbose", "-v"}
"""Options of the program itself, before its command, that need no list of all commands."""


@functools.cache
def application() -> typer.Typer:
    """The whole program, with every command."""
    return _application(*_COMMANDS)


def _application(*names: str) -> typer.Typer:
    """The program with these commands alone."""
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
    for name in names:
        listed = _COMMANDS[name]
        found = getattr(import_module(f"ktrdr_sandbox.cli.{listed.module}"), listed.function)
        if listed.group:
            app.add_typer(found, name=name)
        else:
            settings = {"allow_interspersed_args": False} if listed.passing else None
            app.command(name, context_settings=settings)(found)
    app.callback(invoke_without_command=True)(root)
    flags.share(app)
    return app


def _wanted(arguments: Sequence[str]) -> typer.Typer:
    """The program with the one command that a command line names; whole where it names none."""
    for argument in arguments:
        if argument in _COMMANDS:
            return _application(argument)
        if argument not in _BEFORE_COMMANDS:
            return application()
    return _application() if "--version" in arguments else application()


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
        from ktrdr_sandbox.cli.version import show_version

        show_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        flags.show_help(context)


# Typer bundles click under a private name; this is its public way to the base of usage errors.
_CLICK_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[2])


def run(arguments: Sequence[str], *, program: str = "ktrdr-sandbox") -> int:
    """Run one command line and return its exit status: 64, not Typer's 2, for wrong usage.

    `program` is how it was called: `ktrdr sandbox` is the same.
    """
    flags.begin(arguments)
    try:
        status = _wanted(arguments)(list(arguments), prog_name=program, standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except (typer.Abort, KeyboardInterrupt):
        flags.early_output("").failure(SandboxError("interrupted", "Interrupted."))
        return exit_codes.INTERRUPTED
    except _CLICK_ERROR as error:
        _wrong_usage(error, program)
        return exit_codes.USAGE
    except SandboxError as error:  # help or version that could not be shown
        flags.early_output("").failure(error)
        return exit_codes.exit_code("", error.code)
    return status if isinstance(status, int) else exit_codes.SUCCESS


def _wrong_usage(error: Any, program: str) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    message = _sentence(str(error.format_message()))
    failure = SandboxError("usage", message, hints=(f"Run '{path} --help'.",))
    flags.early_output(path.removeprefix(program).strip()).failure(failure)


def _sentence(message: str) -> str:
    """Click ends some of its messages with a full stop or a question mark, and others with none."""
    return message if message.endswith((".", "?", "!")) else f"{message}."
