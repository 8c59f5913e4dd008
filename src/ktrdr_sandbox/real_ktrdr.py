"""Finds the real `ktrdr` command, which is never this package's own one of that name."""

from __future__ import annotations

import functools
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home, checkout_root
from ktrdr_sandbox.settings import load_settings, may_be_set

PROGRAM: Final = "ktrdr"
SETTING: Final = "ktrdr_command"

# In every script that an installer makes of our entry point, wherever it lies. The name alone
# would not do: the path of somebody's folder may have it.
_OWN_SCRIPT: Final = re.compile(rb"(?:\bfrom|\bimport|-m) +ktrdr_sandbox\b")
_SCRIPT_LENGTH: Final = 4096  # bytes in which that is looked for: such scripts have a few hundred


class Candidate(NamedTuple):
    """One way to start it: the beginning of its argument list, and where that comes from.

    With `named`, somebody chose it, and no other will do.
    """

    argv: tuple[str, ...]
    origin: str
    named: bool = False


def candidates(cwd: Path, *, environment: Mapping[str, str], home: Home) -> Iterator[Candidate]:
    """All ways there are, the best first; none is looked for before it is asked for.

    Raises `bad-settings`.
    """
    root = checkout_root(cwd)
    if may_be_set(SETTING, home, root or cwd, variables=environment):
        yield from _by_setting(root or cwd, environment, home)
    if root is not None:
        script = root / ".venv" / "bin" / PROGRAM
        if _is_program(script) and not is_ours(script):
            yield Candidate((str(script),), str(script))
        uv = _all_on_path("uv", environment)
        if uv and _is_ktrdr(root / "pyproject.toml"):
            # `--project` and not `--directory`: the command is to run where the user is.
            argv = (str(uv[0]), "run", "--project", str(root), "--", PROGRAM)
            yield Candidate(argv, f"uv run in {root}")
    for program in _all_on_path(PROGRAM, environment):
        if not is_ours(program):
            yield Candidate((str(program),), str(program))
    yield from _installed_here()


def is_ours(program: Path) -> bool:
    """Whether a program is this package's `ktrdr`, of this installation or another one.

    Links are followed, as pipx makes them. What hides it (a wrapper) shows when it starts us.
    """
    try:
        if program.samefile(sys.argv[0]):
            return True
        with program.open("rb") as stream:
            return _OWN_SCRIPT.search(stream.read(_SCRIPT_LENGTH)) is not None
    except OSError:
        return False


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _is_ktrdr(pyproject: Path) -> bool:
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        return str(project["name"]).lower() == PROGRAM
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _all_on_path(name: str, environment: Mapping[str, str]) -> list[Path]:
    """All programs of a name, as a shell would find them, but none by way of the directory that
    somebody happens to be in."""
    folders = [Path(entry) for entry in environment.get("PATH", os.defpath).split(os.pathsep)]
    found = [folder / name for folder in folders if folder.is_absolute()]
    return [program for program in dict.fromkeys(found) if _is_program(program)]


def _by_setting(checkout: Path, environment: Mapping[str, str], home: Home) -> Iterator[Candidate]:
    from ktrdr_sandbox.commands.configuration import is_approved  # pydantic, 0.2 s

    # Without approval a checkout's file does not say what runs here; `config show` tells so.
    approved = functools.partial(is_approved, home)
    command = load_settings(home, checkout=checkout, approved=approved).ktrdr_command
    if command is None:
        return
    program = Path(os.path.expanduser(command[0]))  # noqa: PTH111  a Path would raise for ~nobody
    if os.sep in command[0]:
        program = checkout / program
    found = [program] if program.is_absolute() else _all_on_path(command[0], environment)
    if found and is_ours(found[0]):
        raise SandboxError(
            "bad-settings",
            f"The setting {SETTING} names this very program: {found[0]}.",
            hints=("Name the real ktrdr command, or remove the setting to have it looked for.",),
        )
    origin = f"{command[0]} of the setting {SETTING}"
    yield Candidate((str(program), *command[1:]), origin, named=True)


def _installed_here() -> Iterator[Candidate]:
    """A KTRDR in this program's own Python, where both have a script of one name."""
    from importlib.metadata import PackageNotFoundError, distribution  # as slow as all else

    try:
        entries = distribution(PROGRAM).entry_points
    except PackageNotFoundError:
        return
    for entry in entries.select(group="console_scripts", name=PROGRAM):
        # Its own file may be overwritten by ours, so what is in such a file is done here. Without
        # `-P`, the current directory would come before the installed packages.
        first, dot, attributes = entry.attr.partition(".")
        code = (
            f"import sys; from {entry.module} import {first} as _; "
            f"sys.argv[0] = {PROGRAM!r}; sys.exit(_{dot}{attributes}())"
        )
        yield Candidate((sys.executable, "-P", "-c", code), f"the ktrdr package in {sys.prefix}")
