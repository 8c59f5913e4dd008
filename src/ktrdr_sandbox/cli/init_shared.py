"""ktrdr-sandbox init-shared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option

from ktrdr_sandbox.cli.boundary import command, leave_with_failure
from ktrdr_sandbox.commands import init_shared as use_case
from ktrdr_sandbox.console import shared, shared_progress
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home

_FROM = "A checkout, another shared folder, or a .tar.gz or .tar.zst of one."
_MINIMAL = "The small seed pack of this program; no network."
_OVERWRITE = "Replace files that were changed in the shared folder."
_TIMEOUT = "Try a download again when nothing comes for so long."


def init_shared(
    source: Annotated[Path | None, Option("--from", metavar="PATH", help=_FROM)] = None,
    minimal: Annotated[bool, Option("--minimal", help=_MINIMAL)] = False,
    url: Annotated[str | None, Option("--url", metavar="URL", help="An archive to fetch.")] = None,
    sha256: Annotated[
        str | None, Option("--sha256", metavar="HASH", help="What the archive must be.")
    ] = None,
    link: Annotated[
        bool, Option("--link", help="Use the folders where they lie; copy nothing.")
    ] = False,
    overwrite: Annotated[bool, Option("--overwrite", help=_OVERWRITE)] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only tell what would be copied.")] = False,
    stall: Annotated[float, Option("--timeout", min=0.1, metavar="SECONDS", help=_TIMEOUT)] = 30.0,
) -> None:
    """Fill the folders that all instances share: data, models, strategies.

    Safe to repeat: only what is missing or has changed in the source is copied, and a file that was
    changed in the shared folder is kept and listed.
    """
    interrupted = "Everything that was copied is whole; the same command goes on from there."
    with command("init-shared", when_interrupted=interrupted) as output:
        request = use_case.Request(source, minimal, url, sha256, link, overwrite, dry_run, stall)
        home = Home.from_environment()
        with shared_progress.shown_progress(output) as observe:
            done = use_case.init_shared(home, request, tell=output.tell, observe=observe)
        text, data = shared.init_shared_text(done), asdict(done)
        if done.failures:
            error = SandboxError(
                "copy-incomplete",
                f"{shared.counted(done.failures, 'item')} of the source could not be copied.",
                hints=("Put right what is said above and run it again: it copies the rest.",),
            )
            leave_with_failure(output, text, data, error, told=False)
        output.result(text, data)
