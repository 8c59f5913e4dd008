"""env, url, run, exec, shell and open: an instance's environment for other programs."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer import Argument, Option

from ktrdr_sandbox.api_address import address_in
from ktrdr_sandbox.cli import completion, params
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.commands import environment
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.console import results
from ktrdr_sandbox.console.output import on_terminal
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.paths import Home, working_directory


def env(
    name: params.Name = None,
    export: Annotated[
        bool, Option("--export", help='Lines for a shell: eval "$(ktrdr-sandbox env --export)"')
    ] = False,
) -> None:
    """Print the instance's .env.sandbox as it is, passwords included.

    --export and --json give its values, the shared folders and KTRDR_API_URL.
    """
    with command("env") as output:
        context = command_context(output)
        given = environment.environment_of(context, instance_of(context, name))
        if export and given.invalid_names:
            output.tell(f"No shell takes this as a name: {', '.join(given.invalid_names)}.")
        output.disclosure(given.exports if export else given.text, results.environment(given))


def url(
    url: Annotated[str | None, Option("--url", metavar="URL", help="This one.")] = None,
    port: Annotated[
        str | None, Option("--port", metavar="PORT", help="That port of this machine.")
    ] = None,
    explain: Annotated[bool, Option("--explain", help="Also say why, on stderr.")] = False,
) -> None:
    """Print the API address that commands here are aimed at.

    The first of: --url, --port, .env.sandbox of the directory's tree, KTRDR_API_URL or
    KTRDR_API_PORT, http://localhost:8000.
    """
    with command("url") as output:
        home, cwd = Home.from_environment(), working_directory()
        found = address_in(cwd, url=url, port=port, environment=os.environ, home=home)
        for warning in found.warnings:
            output.tell(warning)
        if explain:
            output.tell(f"{found.why}.")
        output.result(found.url, results.fill("UrlData", found))


def run(command_line: params.CommandLine = None, instance: params.InstanceName = None) -> None:
    """Run any command with the instance's environment, in the current directory.

    It gets what .env.sandbox says, and KTRDR_API_URL. Its exit status is that of the command; 127
    when there is no such command, 126 when it cannot be executed. --json is for a failure before
    the command begins; there is no document after.
    """
    with command("run") as output:
        line = _needed(command_line, "run", instance, "-- make test-e2e")
        context = command_context(output)
        environment.run_with(context, instance_of(context, instance), line)


def execute(
    service: Annotated[
        str,
        Argument(
            metavar="SERVICE",
            help="Service of the stack, for example backend.",
            autocompletion=completion.services,
        ),
    ],
    command_line: params.CommandLine = None,
    instance: params.InstanceName = None,
) -> None:
    """Run a command inside the running container of a service.

    It has the terminal, or what is piped in. Its exit status is that of the command. --json is for
    a failure before the command begins; there is no document after.
    """
    with command("exec") as output:
        line = _needed(command_line, "exec", instance, f"{service} sh")
        context = command_context(output)
        _run_inside(context, instance_of(context, instance), service, line)


def shell(
    service: Annotated[
        str | None,
        Argument(
            metavar="SERVICE",
            help="Service of the stack. Left out: the backend.",
            show_default=False,
            autocompletion=completion.services,
        ),
    ] = None,
    instance: params.InstanceName = None,
) -> None:
    """Open a shell inside the running container of a service: bash, or sh where there is none.

    Its exit status is that of the shell. --json is for a failure before the shell begins; there is
    no document after.
    """
    with command("shell") as output:
        context = command_context(output)
        found = instance_of(context, instance)
        chosen = service or environment.backend_of(context, found)
        _run_inside(context, found, chosen, environment.SHELL)


def _run_inside(
    context: Context, instance: Instance, service: str, line: Sequence[str]
) -> NoReturn:
    terminal = on_terminal(sys.stdin) and on_terminal(sys.stdout)
    raise typer.Exit(environment.run_inside(context, instance, service, line, terminal=terminal))


def _needed(given: list[str] | None, name: str, instance: str | None, example: str) -> list[str]:
    """The other program's command line. Raises `usage` without one."""
    if not given:
        where = f"-i {instance} " if instance else ""
        hint = f"For example: ktrdr-sandbox {name} {where}{example}"
        raise SandboxError("usage", "There is nothing to run.", hints=(hint,))
    return given


def open_tool(
    tool: Annotated[
        str,
        Argument(
            metavar="TOOL",
            help="api, grafana, jaeger or prometheus.",
            autocompletion=lambda: completion.TOOLS,
        ),
    ] = "api",
    instance: params.InstanceName = None,
) -> None:
    """Open a tool of the stack in the browser, and print its address.

    Without a terminal, a display or a browser, and with --json, it only prints it.
    """
    with command("open") as output:
        context = command_context(output)
        service, url = environment.page(context, instance_of(context, instance), tool)
        why_not = "" if output.json_mode else _open(url)
        output.result(url, {"tool": tool, "url": url, "service": service})
        if why_not:
            output.tell(f"Not opened: {why_not}.")


def _open(url: str) -> str:
    """Open a page in the user's browser; why it could not be, else ""."""
    if not (on_terminal(sys.stdout) and on_terminal(sys.stderr)):
        return "this is no terminal"
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    if sys.platform != "darwin" and not any(os.environ.get(name) for name in displays):
        return "there is no display"
    try:
        opened = webbrowser.get().open(url)
    except webbrowser.Error:
        return "there is no browser"
    return "" if opened else "the browser could not be started"
