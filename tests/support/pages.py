"""What the README and the documentation tell people to type, read from the pages themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(
    r"(?P<fresh>^<!-- in an empty home -->\n+)?^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_REMARK: Final = re.compile(r"\s{2,}#\s.*$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is that of its first line of text, counted from 1.

    `fresh` is whether it begins anew, with nothing that the blocks before it made.
    """

    page: str
    line: int
    language: str
    text: str
    fresh: bool


@dataclass(frozen=True)
class Command:
    """One command line. `fails` is whether the page shows an error as its outcome."""

    page: str
    line: int
    text: str
    fails: bool = False
    fresh: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, by its path from the root."""
    found = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    return [str(path.relative_to(CHECKOUT)) for path in found]


def blocks(page: str) -> Iterator[Block]:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, match["language"], match["text"], bool(match["fresh"]))


def commands(page: str) -> list[Command]:
    """All lines after a `$ ` in the page's `console` blocks, in order."""
    return [
        command
        for block in blocks(page)
        if block.language == "console"
        for command in _typed(block)
    ]


def _typed(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    typed = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    for index, following in zip(typed, [*typed[1:], len(lines)], strict=True):
        shown = lines[index + 1 : following]
        fails = any(line.startswith("error: ") for line in shown)
        text = _REMARK.sub("", lines[index].removeprefix("$ "))
        fresh = block.fresh and index == typed[0]
        yield Command(block.page, block.line + index, text, fails, fresh)
