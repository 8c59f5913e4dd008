"""The Typer application: its commands, and how it is run.

All laziness is here. A command's file is loaded when the command line names the command; the use
cases and texts that it imports are loaded when first used, since TAB and `--help` need none.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from typing import Annotated, Any, Final, cast

import typer
from typer import Option

from ktrdr_sandbox import __version__
from ktrdr_sandbox.cli import completion, error_table, params
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.errors import SandboxError

_COMMANDS: Final = {
    "create": "instances.create",
    "init": "instances.init",
    "up": "stacks.up",
    "down": "stacks.down",
    "destroy": "instances.destroy",
    "list": "views.list_instances",
    "status": "views.status",
    "logs": "views.logs",
    "move": "instances.move",
    "wait": "stacks.wait",
    "isolate": "stacks.isolate",
    "env": "handing_over.env",
    "url": "handing_over.url",
    "run": "handing_over.run",
    "exec": "handing_over.execute",
    "shell": "handing_over.shell",
    "open": "handing_over.open_tool",
    "doctor": "upkeep.doctor",
    "gc": "upkeep.gc",
    "init-shared": "init_shared.init_shared",
    "demo": "stacks.demo",
    "schema": "about.schema",
    "explain": "about.explain",
    "completion": "about.completion",
    "config": "config.config",
}
"""File and function by name, in the order in which help lists them; for a group its program."""

_PASSING: Final = ("run", "exec")  # what follows is the command line of another program
_BEFORE_COMMANDS: Final = ("--version", "--json", "--quiet", "-q", "--verbose", "-v")
_LAZY: Final = ("ktrdr_sandbox.commands.", "ktrdr_sandbox.console.", "ktrdr_sandbox.state.rebuild")


class _LazyUseCases:
    """Finds use cases and their texts, to be executed when something of them is first used."""

    @staticmethod
    def find_spec(name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.startswith(_LAZY) else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def _load(file: str) -> Any:
    sys.meta_path.insert(0, _LazyUseCases)
    try:
        return import_module(f"ktrdr_sandbox.cli.{file}")
    finally:
        sys.meta_path.remove(_LazyUseCases)


@functools.cache
def application() -> typer.Typer:
    """Build the whole program, with every command."""
    return _application(*_COMMANDS)


def _application(*names: str) -> typer.Typer:
    app = typer.Typer(
        name="ktrdr-sandbox",
        help="One complete, isolated KTRDR stack per git branch.",
        no_args_is_help=False,
        add_completion=False,  # there is `completion`
        rich_markup_mode=None,  # plain help: no boxes and no colours to strip where it is piped
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    for name in names:
        file, _, function = _COMMANDS[name].partition(".")
        found = getattr(_load(file), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            settings = {"allow_interspersed_args": False} if name in _PASSING else None
            app.command(name, context_settings=settings)(found)
    app.callback(invoke_without_command=True)(root)
    params.share(app)
    return app


def _wanted(arguments: Sequence[str]) -> typer.Typer:
    """Build the program with the one command that is named; whole where none is."""
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
        Option("--version", help="Show the version and exit; with --verbose, those of all tools."),
    ] = False,
) -> None:
    """One complete, isolated KTRDR stack per git branch."""
    if not version:
        if context.invoked_subcommand is None:
            params.show_help(context)
        return
    with command("--version") as output:
        text, tools = f"ktrdr-sandbox {__version__}", None
        if output.verbose:
            lines, tools = _load("about").tools()
            text += f"\n{lines}"
        output.result(text, {"version": __version__, "tools": tools})
    raise typer.Exit


# Typer bundles click under a private name; this is its public way to the base of usage errors.
_CLICK_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[2])


def run(arguments: Sequence[str], *, program: str = "ktrdr-sandbox") -> int:
    """Run one command line and return its exit status: 64, not Typer's 2, for wrong usage.

    `program` is how it was called: `ktrdr sandbox` is the same.
    """
    if os.environ.get(completion.VARIABLE):  # an empty one is no shell's
        words = completion.words_of(arguments)
        completion.answer(typer.main.get_command(_wanted(words[:-1])), words)
        return error_table.SUCCESS
    params.begin(arguments)
    try:
        status = _wanted(arguments)(list(arguments), prog_name=program, standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except (typer.Abort, KeyboardInterrupt):
        params.early_output("").failure(SandboxError("interrupted", "Interrupted."))
        return error_table.INTERRUPTED
    except _CLICK_ERROR as error:
        _wrong_usage(error, program)
        return error_table.USAGE
    except SandboxError as error:  # help or version that could not be shown
        params.early_output("").failure(error)
        return error_table.exit_code("", error.code)
    return status if isinstance(status, int) else error_table.SUCCESS


def _wrong_usage(error: Any, program: str) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    message = str(error.format_message())
    # Click ends some of its messages with a full stop or a question mark, and others with none.
    message += "" if message.endswith((".", "?", "!")) else "."
    failure = SandboxError("usage", message, hints=(f"Run '{path} --help'.",))
    params.early_output(path.removeprefix(program).strip()).failure(failure)
