"""Log lines for people: which container printed each, in a colour of its service's own."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.console.output import flush, on_terminal, send

if TYPE_CHECKING:
    from ktrdr_sandbox.commands.logs import LogLine

_COLOURS: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
"""SGR codes; none of them red, which is for what went wrong."""


def colour_wanted() -> bool:
    """Whether stdout is a terminal that shows colours, to somebody who wants them."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return on_terminal(sys.stdout) and not plain


@dataclass
class LogLines:
    """Renders lines with aligned names. `width` grows with the longest name met."""

    colour: bool
    timestamps: bool
    width: int = 0
    _colours: dict[str, str] = field(default_factory=dict)

    def rendered(self, line: LogLine) -> str:
        self.width = max(self.width, len(line.source))
        head = f"{line.source:<{self.width}} |"
        if self.colour:
            code = self._colours.setdefault(
                line.service, _COLOURS[len(self._colours) % len(_COLOURS)]
            )
            head = f"\x1b[{code}m{head}\x1b[0m"
        stamp = f" {line.stamp}" if self.timestamps else ""
        return f"{head}{stamp} {line.text}"


def show(lines: Iterator[LogLine | None], view: LogLines) -> None:
    """Print lines until they end, or until nobody reads them any more.

    None among them is a pause: what was printed is shown then. Raises `cannot-write`.
    """
    for line in lines:
        text = None if line is None else view.rendered(line)
        if not (send(text) if text is not None else flush() and not _reader_is_gone()):
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
