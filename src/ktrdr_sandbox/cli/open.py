"""ktrdr-sandbox open."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.cli.wiring import command_context, instance_of
from ktrdr_sandbox.console.output import on_terminal

if TYPE_CHECKING:
    import webbrowser


def open_tool(
    tool: Annotated[
        str, typer.Argument(metavar="TOOL", help="api, grafana, jaeger or prometheus.")
    ] = "api",
    instance: options.InstanceName = None,
    json_mode: options.Json = False,
) -> None:
    """Open a tool of the stack in the browser, and print its address.

    Without a terminal, a display or a browser, and with --json, it only prints it.
    """
    with command("open", json_mode=json_mode) as output:
        from ktrdr_sandbox.commands import environment

        context = command_context(output)
        page = environment.page(context, instance_of(context, instance), tool)
        browser, why_not = _browser() if not json_mode else (None, "")
        opened = browser is not None and browser.open(page.url)
        if browser is not None and not opened:
            why_not = "the browser could not be started"
        output.result(page.url, {"tool": page.tool, "url": page.url, "service": page.service})
        if why_not:
            output.tell(f"Not opened: {why_not}.")


def _browser() -> tuple[webbrowser.BaseBrowser | None, str]:
    """The user's browser, or None and why there is none."""
    import webbrowser  # runs a command to find the default one

    if not (on_terminal(sys.stdout) and on_terminal(sys.stderr)):
        return None, "this is no terminal"
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    if sys.platform != "darwin" and not any(os.environ.get(name) for name in displays):
        return None, "there is no display"
    try:
        return webbrowser.get(), ""
    except webbrowser.Error:
        return None, "there is no browser"
