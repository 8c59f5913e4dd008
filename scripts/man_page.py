"""The man page, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from ktrdr_sandbox.cli import error_table, params
from ktrdr_sandbox.cli.app import application

HEAD = """\
.\\" Made by scripts/generate.py.
.TH KTRDR\\-SANDBOX 1 "" "ktrdr\\-sandbox" "User Commands"
.SH NAME
ktrdr\\-sandbox \\- one complete, isolated KTRDR stack per git branch
.SH SYNOPSIS
.B ktrdr\\-sandbox
.I COMMAND
.RI [ OPTION ]...
.SH DESCRIPTION
Gives each git branch of KTRDR its own complete stack: git worktree, port slot, environment file,
isolated Compose project, a gate that proves it ready, and clean removal. Where NAME is left out,
a command means the instance whose directory it is run in.
"""
TAIL = """\
.SH ENVIRONMENT
.TP
.B KTRDR_HOME
The folder for everything, instead of ~/.ktrdr.
.TP
.B KTRDR_SANDBOX_*
Settings; strongest but for options. See
.BR "ktrdr\\-sandbox config show" .
.TP
.BR NO_COLOR ", " COLUMNS
No colour; the width of what is printed.
.SH FILES
.TP
.I ~/.ktrdr/sandbox/instances.json
The registry of instances.
.TP
.I ~/.ktrdr/sandbox/config.toml
The user's settings.
.TP
.I .ktrdr-sandbox.toml
A checkout's settings.
.TP
.I .env.sandbox
An instance's ports and names, in its directory.
.SH SEE ALSO
.BR docker (1),
.BR git-worktree (1)
"""


def page() -> str:
    """The whole page, in the man macros of troff."""
    root: Any = typer.main.get_command(application())
    parts = [HEAD, ".SH COMMANDS\n"]
    parts += [part for name, command in leaves(root) for part in section(name, command)]
    parts += [".SH EXIT STATUS\n", *statuses(), TAIL]
    return "".join(parts)


def leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Commands with their whole names, those of groups in their place."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def section(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    pieces = " ".join(piece for piece in command.collect_usage_pieces(context))
    yield f".SS {quoted(f'{name} {pieces}')}\n{text(command.help or '')}\n"
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and not getattr(parameter, "hidden", False):
            yield f".TP\n.B {quoted(record[0])}\n{text(record[1])}\n"
    typed = params.examples().get(name)
    if typed:
        yield ".PP\nExamples:\n.PP\n.nf\n.RS\n"
        yield from (
            text(line + (f"  # {remark}" if remark else "")) + "\n" for line, remark in typed
        )
        yield ".RE\n.fi\n"


def statuses() -> Iterator[str]:
    for status, meaning in sorted(error_table.MEANING.items()):
        yield f".TP\n.B {status}\n{text(meaning)}\n"


def text(prose: str) -> str:
    """Prose in one paragraph, without anything that troff would take for its own."""
    plain = re.sub(r"\s+", " ", prose.replace("\b", "")) if "  # " not in prose else prose
    escaped = plain.strip().replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped)


def quoted(words: str) -> str:
    return '"' + text(words).replace('"', '""') + '"'
