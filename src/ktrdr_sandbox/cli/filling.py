"""What init-shared does when its command line is read, and the reading of a plain one.

A run with nothing to do takes less time than to load Typer, and then some: a command line of plain
options is therefore read here. Whatever is out of the ordinary, wrong usage too, is left to Typer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.cli import exit_codes, said
from ktrdr_sandbox.cli.boundary import command
from ktrdr_sandbox.errors import SandboxError

NAME: Final = "init-shared"

_SWITCHES: Final = {
    "--minimal": "minimal",
    "--link": "link",
    "--overwrite": "overwrite",
    "--dry-run": "dry_run",
    "--json": "json_mode",
    "--quiet": "quiet",
    "-q": "quiet",
    "--verbose": "verbose",
    "-v": "verbose",
}
_VALUES: Final = {"--from": "source", "--url": "url", "--sha256": "sha256"}


def fill(wanted: Mapping[str, Any], *, json_mode: bool) -> None:
    """Run the command. `wanted` are the fields of `sharing.Wanted`."""
    interrupted = "Everything that was copied is whole; the same command goes on from there."
    with command(NAME, json_mode=json_mode, when_interrupted=interrupted) as output:
        from ktrdr_sandbox.cli.wiring import sharing_place
        from ktrdr_sandbox.console import sharing as shown
        from ktrdr_sandbox.console.copying import watching
        from ktrdr_sandbox.lifecycle import sharing

        place = sharing_place(output)
        with watching(output) as observe:
            done = sharing.init_shared(place, sharing.Wanted(**wanted), observe=observe)
        held = sharing.holdings(place) if done.changed else None
        text, data = shown.filling(done, held), shown.filling_data(done, held)
        if not done.failures:
            output.result(text, data)
            return
        error = SandboxError(
            "copy-incomplete",
            f"{shown.counted(len(done.failures), 'item')} of the source could not be copied.",
            hints=("Put right what is said above and run it again: it copies the rest.",),
        )
        if not output.json_mode:
            output.result(text, data)
        output.failure(error, data=data)
        raise SystemExit(exit_codes.exit_code(NAME, error.code))


def fill_at_once(arguments: Sequence[str]) -> int | None:
    """Run a plain command line of init-shared; its exit status, or None to leave it to Typer."""
    given = _plain(arguments)
    if given is None:
        return None
    said.begin(arguments)
    json_mode = bool(given.pop("json_mode", False))
    said.say(
        said.now()._replace(
            json_mode=json_mode,
            quiet=bool(given.pop("quiet", False)),
            verbose=bool(given.pop("verbose", False)),
        )
    )
    try:
        fill(given, json_mode=json_mode)
    except SystemExit as leaving:
        return said.status_of(leaving)
    return exit_codes.SUCCESS


def _plain(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The options of init-shared by name; None for anything but plain ones, each once."""
    if not arguments or arguments[0] != NAME:
        return None
    given: dict[str, Any] = {}
    words = iter(arguments[1:])
    for word in words:
        name = _SWITCHES.get(word)
        value: Any = True
        if name is None:
            option, equals, text = word.partition("=")
            name, value = _VALUES.get(option), text if equals else next(words, "-")
            if name is None or value.startswith("-"):
                return None
        if name in given:
            return None
        given[name] = value
    if "quiet" in given and "verbose" in given:
        return None
    if "source" in given:
        given["source"] = Path(given["source"])
    return given
