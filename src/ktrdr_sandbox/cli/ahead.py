"""What can begin before the command line is understood: init-shared reads much to find nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

_COMMAND: Final = "init-shared"
_SOURCE: Final = "--from"


@contextmanager
def reading_ahead(arguments: Sequence[str]) -> Iterator[None]:
    """For the block, have the folder read that a command line seems to copy from.

    Nothing but reading comes of it, so that a command line may turn out to mean something else.
    """
    with ExitStack() as stack:
        source = _source(arguments)
        if source:
            from ktrdr_sandbox.commands.ahead import reading

            stack.enter_context(reading(source))
        yield


def _source(arguments: Sequence[str]) -> str | None:
    """The last path given with --from to the command that reads folders."""
    words = iter(arguments)
    if next((word for word in words if not word.startswith("-")), None) != _COMMAND:
        return None
    found = None
    for word in words:
        if word == _SOURCE:
            found = next(words, None)
        elif word.startswith(f"{_SOURCE}="):
            found = word.partition("=")[2]
    return found
