"""ktrdr-sandbox --version."""

from __future__ import annotations

from ktrdr_sandbox import __version__
from ktrdr_sandbox.cli.boundary import command


def show_version() -> None:
    """The program's version; with --verbose those of the tools as well."""
    with command("--version", json_mode=False) as output:
        if not output.verbose:
            output.result(f"ktrdr-sandbox {__version__}", {"version": __version__, "tools": None})
            return
        from ktrdr_sandbox.commands.tool_versions import tool_versions
        from ktrdr_sandbox.console import versions

        tools = tool_versions()
        output.result(
            f"ktrdr-sandbox {__version__}\n{versions.text(tools)}",
            {"version": __version__, "tools": versions.data(tools)},
        )
