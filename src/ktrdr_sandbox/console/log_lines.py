"""Log lines for people: which container printed each, in a colour of its service's own."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.console.output import flush, on_terminal, send

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.logs import LogLine

# SGR codes; none of them red, which is for what went wrong.
_COLOURS: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


def show(lines: Iterator[LogLine | None], *, timestamps: bool) -> None:
    """Print lines with aligned names until they end, or until nobody reads them any more.

    None among them is a pause: what was printed is shown then. Raises `cannot-write`.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    coloured = on_terminal(sys.stdout) and not plain
    colours: dict[str, str] = {}
    width = 0
    for line in lines:
        if line is None:
            if not flush() or _reader_is_gone():
                return
            continue
        width = max(width, len(line.source))
        head = f"{line.source:<{width}} |"
        if coloured:
            code = colours.setdefault(line.service, _COLOURS[len(colours) % len(_COLOURS)])
            head = f"\x1b[{code}m{head}\x1b[0m"
        if not send(f"{head}{f' {line.stamp}' if timestamps else ''} {line.text}"):
            return
    flush()


def _reader_is_gone() -> bool:
    """Whether whoever read our stdout has closed it, which no write of ours has found out yet."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False
