"""Makes the pictures of the documentation: real commands, on a real terminal, with real stacks.

    . "$(python -m tests.lab where)/env.sh"      # after scripts/demo: an engine and images
    python -m scripts.make_pictures docs/pictures

Everything happens in a scratch folder; the instances are destroyed at the end.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.support.stacks import PROGRAM, Sandbox, sandbox
from tests.support.terminal import Terminal, terminal

SIZE: Final = (44, 96)
"""Lines and columns of the terminal."""

_COLOURS: Final = {"brown": "yellow", "brightblack": "bright_black"}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sandbox(Path(scratch) / "dev") as place:
        place.make_repository()
        worktree = place.folder / "ktrdr--feat-metrics"
        take(place, folder / "create.svg", ["create", "feat-metrics"])
        take_live(place, folder / "up-live.svg", ["up", "feat-metrics"], until=r"waiting|starting")
        take(place, folder / "up.svg", ["up"], cwd=worktree)
        take(place, folder / "status.svg", ["status"], cwd=worktree)
        take(place, folder / "list.svg", ["list"])
        (worktree / "scratch.txt").write_text("an idea\n", encoding="utf-8")
        take(place, folder / "refused.svg", ["destroy", "feat-metrics", "--yes"])
        (worktree / "scratch.txt").unlink()
        (worktree / "config" / "sample.toml").write_text("[backend]\nhealth_status = 500\n")
        place.run("down", "feat-metrics", "--now").expect(0)
        take(place, folder / "failed.svg", ["up", "--timeout", "8"], cwd=worktree)
        take(place, folder / "destroy.svg", ["destroy", "feat-metrics", "--force", "--yes"])


def take(place: Sandbox, picture: Path, words: Sequence[str], *, cwd: Path | None = None) -> None:
    """The terminal when the command has ended."""
    with typed(place, words, cwd) as shown:
        shown.end()
        draw(picture, words, shown.raw, place)


def take_live(place: Sandbox, picture: Path, words: Sequence[str], *, until: str) -> None:
    """The terminal while the command is at work."""
    with typed(place, words, None) as shown:
        shown.until(until)
        shown.until(r"(?s)backend.*backend.*backend")
        draw(picture, words, shown.raw, place)
        shown.end()


@contextmanager
def typed(place: Sandbox, words: Sequence[str], cwd: Path | None) -> Iterator[Terminal]:
    environment = place.environment
    for name in ("NO_COLOR", "COLUMNS"):
        environment.pop(name, None)
    where = cwd or place.repository
    with terminal([*PROGRAM, *words], cwd=where, environment=environment, size=SIZE) as shown:
        yield shown


def draw(picture: Path, words: Sequence[str], raw: bytes, place: Sandbox) -> None:
    """What a terminal makes of the bytes, as a picture."""
    screen = pyte.Screen(SIZE[1], 400)
    pyte.ByteStream(screen).feed(raw)
    console = Console(record=True, width=SIZE[1], file=io.StringIO())
    console.print(Text(f"$ ktrdr-sandbox {' '.join(words)}", style="bold"))
    lines = [line_of(screen, number) for number in range(screen.lines)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in lines:
        console.print(homely(line, place), no_wrap=True, overflow="crop")
    # rich names fonts of a server; the reader's own monospace does as well, and needs no network
    drawn = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title="ktrdr-sandbox"), flags=re.S
    )
    picture.write_text(drawn, encoding="utf-8")
    print(picture)


def line_of(screen: pyte.Screen, number: int) -> Text:
    line = Text()
    for column in range(screen.columns):
        cell = screen.buffer[number][column]
        colour = None if cell.fg == "default" else _COLOURS.get(cell.fg, cell.fg)
        if colour is not None and re.fullmatch(r"[0-9a-f]{6}", colour):
            colour = f"#{colour}"
        line.append(cell.data, Style(color=colour, bold=cell.bold, italic=cell.italics))
    line.rstrip()
    return line


def homely(line: Text, place: Sandbox) -> Text:
    """Without this machine's scratch folder."""
    plain = line.plain.replace(str(place.folder), "/home/you/dev")
    return Text(plain, spans=line.spans) if plain == line.plain else Text(plain)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
