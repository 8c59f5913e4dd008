"""Which of the shared flags were given on this command line. Knows nothing of how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final, NamedTuple

from ktrdr_sandbox.console.output import Output


class Flags(NamedTuple):
    """What was said so far on the command line. `typed` is all of it."""

    typed: tuple[str, ...] = ()
    json_mode: bool = False
    quiet: bool = False
    verbose: bool = False


_said: Final[ContextVar[Flags]] = ContextVar("_said", default=Flags())  # noqa: B039  frozen


def begin(arguments: Sequence[str]) -> None:
    """Forget the flags of an earlier command line of this process."""
    _said.set(Flags(typed=tuple(arguments)))


def now() -> Flags:
    """What was said so far."""
    return _said.get()


def say(flags: Flags) -> None:
    """Take in what was said further."""
    _said.set(flags)


def output(name: str, *, json_mode: bool = False) -> Output:
    """The output of a command, as the flags want it."""
    flags = _said.get()
    return Output(
        command=name,
        json_mode=json_mode or flags.json_mode,
        quiet=flags.quiet,
        verbose=flags.verbose,
    )


def early_output(name: str) -> Output:
    """The same before the command line is understood, or when it never will be.

    What follows `--` belongs to another program.
    """
    typed = _said.get().typed
    ours = typed[: typed.index("--")] if "--" in typed else typed
    return Output(command=name, json_mode="--json" in ours)


def status_of(leaving: SystemExit) -> int:
    """The exit status with which the boundary leaves a command."""
    return leaving.code if isinstance(leaving.code, int) else 0
