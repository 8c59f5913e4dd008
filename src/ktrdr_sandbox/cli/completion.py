"""What a press of TAB may give: completers of parameters, and the answer to a shell's question.

The scripts in `shells` set `_KTRDR_SANDBOX_COMPLETE` to the shell's name and give the words of the
command line, the program's first and the unfinished one last; bash gives the line as it is. Typer
finds the parameter. Typer's own scripts are not used: the one for zsh evaluates what it is given,
so that a branch's name could run a command, and the one for fish runs the program twice.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import typer

# Of Typer's private modules this one has been where it is, under these names, in all versions.
from typer._completion_classes import ZshComplete

from ktrdr_sandbox.errors import SandboxError

VARIABLE: Final = "_KTRDR_SANDBOX_COMPLETE"
TOOLS: Final = ("api", "grafana", "jaeger", "prometheus")

Candidates = Iterable[tuple[str, str]]


def instances(incomplete: str) -> Candidates:
    return _known("instances", incomplete)


def free_slots() -> Candidates:
    return _known("free_slots")


def branches() -> Candidates:
    return _known("branches")


def services(context: typer.Context) -> Candidates:
    given = context.params.get("services") or ()
    found = _known("services", context.params.get("instance"))
    return [candidate for candidate in found if candidate[0] not in given]


def _known(what: str, *about: Any) -> Candidates:
    """Nothing where anything is wrong: any command tells why, and a prompt is no place for it."""
    from ktrdr_sandbox.commands import candidates  # only at a press of TAB

    try:
        return list(getattr(candidates, what)(*about))
    except (SandboxError, OSError, ValueError):
        return []


def words_of(arguments: Sequence[str]) -> list[str]:
    """Return the program's own words of the command line; the last is the unfinished one."""
    words = list(arguments)
    if os.environ[VARIABLE] == "bash":
        words = _split(arguments[0] if arguments else "")
    of_ktrdr = bool(words) and Path(words[0]).name == "ktrdr"
    return words[2 if of_ktrdr else 1 :]


def _split(line: str) -> list[str]:
    """The words of an unfinished line, quotes taken off; the last is "" after a space."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    try:
        words += list(iter(lexer.get_token, None))
    except ValueError:  # within quotes
        words += shlex.split(f"{line}'") if line.count("'") % 2 else shlex.split(f'{line}"')
    return [*words, ""] if line[-1:].isspace() else words


def answer(program: Any, words: Sequence[str]) -> None:
    """Print a line for each candidate: it and, behind a tab, a few words about it.

    Without any, the shell offers files, as it does for any program.
    """
    *before, unfinished = words or [""]
    option, equals, _ = unfinished.partition("=")
    prefix = f"{option}=" if equals and option.startswith("-") else ""
    resolver = ZshComplete(program, {}, "ktrdr-sandbox", VARIABLE)
    for found in resolver.get_completions(list(before), unfinished):
        about = re.split(r"\. |: | \(| \[default:|\.$", found.help or "")[0]
        print(f"{prefix}{found.value}\t{about}" if about else f"{prefix}{found.value}")
