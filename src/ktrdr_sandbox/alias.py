"""The `ktrdr` command: `ktrdr sandbox ...` is this program, all else the real ktrdr, aimed.

It runs before every ktrdr command, so nothing slow is imported on the way to the real one.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

from ktrdr_sandbox import real_ktrdr
from ktrdr_sandbox.api_address import PORT_VARIABLE, URL_VARIABLE, address_in
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.exec_process import exec_process
from ktrdr_sandbox.paths import Home, working_directory

SANDBOX: Final = "sandbox"
_TRIED: Final = "KTRDR_ALIAS_TRIED"
"""Variable with process, arguments and count of the candidates that were tried, for the case that
one of them starts us again: a wrapper, or uv in an environment that has our script."""

_OURS: Final = {"-u": "url", "--url": "url", "-p": "port", "--port": "port"}


class Request(NamedTuple):
    """A command line taken apart: what aims, and the rest as it was."""

    url: str | None
    port: str | None
    rest: tuple[str, ...]


def main() -> NoReturn:
    """Entry point of the console script."""
    arguments = sys.argv[1:]
    if arguments[:1] == [SANDBOX]:
        from ktrdr_sandbox.__main__ import main as sandbox

        sandbox(arguments[1:], program="ktrdr sandbox")
    try:
        hand_over(arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the boundary sorts them out
        from ktrdr_sandbox.cli.boundary import ended_by  # typer

        sys.exit(ended_by("ktrdr", error))


def hand_over(arguments: Sequence[str]) -> NoReturn:
    """Become the real ktrdr, aimed at the API that the directory or the options mean.

    Raises `usage`, `ktrdr-missing`, and what finding the address raises.
    """
    url, port, rest = take_apart(arguments)
    cwd, home, environment = working_directory(), Home.from_environment(), dict(os.environ)
    address = address_in(cwd, url=url, port=port, environment=environment, home=home)
    if address.warnings:
        from ktrdr_sandbox.console.output import Output  # shown like every message of ours

        for warning in address.warnings:
            Output(command="ktrdr").tell(warning)
    environment |= {URL_VARIABLE: address.url, **address.tools}
    if PORT_VARIABLE in environment:  # whoever reads this one must not go elsewhere
        environment[PORT_VARIABLE] = str(address.port)
    digest = str(zlib.crc32("\0".join(arguments).encode("utf-8", "surrogateescape")))
    passed = _tried_before(environment.get(_TRIED, ""), digest)
    tried: list[str] = []
    found = real_ktrdr.candidates(cwd, environment=environment, home=home)
    for count, candidate in enumerate(found, start=1):
        if count <= passed:
            tried.append(f"{candidate.origin} leads back to ktrdr-sandbox.")
            continue
        environment[_TRIED] = f"{os.getpid()} {digest} {count}"
        try:
            exec_process([*candidate.argv, *rest], environment=environment)
        except OSError as error:
            tried.append(f"{candidate.origin} cannot be started: {error.strerror}.")
            if candidate.named:
                break
    raise SandboxError(
        "ktrdr-missing",
        " ".join(["The ktrdr CLI was not found.", *tried]),
        hints=(
            "In a KTRDR checkout: 'uv sync' makes its .venv/bin/ktrdr.",
            """Or name it: KTRDR_SANDBOX_KTRDR_COMMAND='["/path/to/ktrdr"]'""",
            "'ktrdr sandbox' works without it.",
        ),
        details={"tried": tried},
    )


def take_apart(arguments: Sequence[str]) -> Request:
    """Take `-p/--port` and `-u/--url` from before the subcommand; the last of each counts.

    The first argument that is no option is the subcommand: it and all behind it stay untouched, as
    do options that are not ours. Raises `usage`.
    """
    found: dict[str, str] = {}
    kept: list[str] = []
    left = list(arguments)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        option, value = _split(left.pop(0))
        if option not in _OURS:
            kept.append(option)
            continue
        if value is None:
            if not left:
                raise SandboxError("usage", f"Option '{option}' requires an argument.")
            value = left.pop(0)
        found[_OURS[option]] = value
    if found and left[:1] == [SANDBOX]:
        raise SandboxError(
            "usage",
            "-p and -u aim the ktrdr CLI; sandbox commands take the name of an instance.",
            hints=("Run 'ktrdr sandbox --help'.",),
        )
    return Request(found.get("url"), found.get("port"), (*kept, *left))


def _split(argument: str) -> tuple[str, str | None]:
    """An option and the value written with it: `--port=8002`, `-p8002`, `-p=8002`."""
    name, equals, value = argument.partition("=")
    if argument.startswith("--"):
        return (name, value) if equals and name in _OURS else (argument, None)
    if argument[:2] in _OURS and argument[2:]:
        return argument[:2], argument[2:].removeprefix("=")
    return argument, None


def _tried_before(noted: str, digest: str) -> int:
    """How many candidates led here again: those of this process, or of the one that started it,
    with the same command line. What the real ktrdr starts on its own account is no such case."""
    process, _, rest = noted.partition(" ")
    line, _, count = rest.partition(" ")
    again = process in (str(os.getpid()), str(os.getppid())) and line == digest
    return int(count) if again and count.isdecimal() else 0


if __name__ == "__main__":
    main()
