"""ktrdr-sandbox url."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ktrdr_sandbox.cli import options
from ktrdr_sandbox.cli.boundary import command


def url(
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="This one.", show_default=False)
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            "--port", metavar="PORT", help="That port of this machine.", show_default=False
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also say why, on stderr.")] = False,
    json_mode: options.Json = False,
) -> None:
    """Print the API address that commands here are aimed at.

    The first of: --url, --port, .env.sandbox of the directory's tree, KTRDR_API_URL or
    KTRDR_API_PORT, http://localhost:8000.
    """
    with command("url", json_mode=json_mode) as output:
        from ktrdr_sandbox.api_address import address_in
        from ktrdr_sandbox.paths import Home, working_directory

        found = address_in(
            working_directory(),
            url=url,
            port=port,
            environment=os.environ,
            home=Home.from_environment(),
        )
        for warning in found.warnings:
            output.tell(warning)
        if explain:
            output.tell(f"{found.why}.")
        output.result(found.url, {"url": found.url, "source": found.source, "why": found.why})
