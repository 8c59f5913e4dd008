"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Instance, with or without 'ktrdr--'. Left out: that of the current directory.",
        show_default=False,
    ),
]
InstanceName = Annotated[
    str | None,
    typer.Option(
        "--instance",
        "-i",
        metavar="NAME",
        help="Instance. Left out: that of the current directory.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
JsonOfFailures = Annotated[
    bool,
    typer.Option(
        "--json", help="One JSON document for a failure before the command begins; none after."
    ),
]
Slot = Annotated[
    int | None,
    typer.Option(
        "--slot",
        min=FIRST_SLOT,
        max=LAST_SLOT,
        help="Force a port slot. [default: the first free one]",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every instance, several at once.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        metavar="COUNT",
        help="With --all: how many at once. [default: 3]",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=1,
        metavar="SECONDS",
        help="Longest wait for the gate. [default: the setting gate_timeout, 120]",
        show_default=False,
    ),
]
