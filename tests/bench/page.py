"""docs/benchmarks.md: the rows of its tables, renewed one by one, for the slow ones are rare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.harness import Pair, machine, seconds

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"

INTRODUCTION: Final = """\
# Speed

Made by `nox -s bench` (`python -m tests.bench --help`): what a command takes against the raw tools
that do the same work, as medians of alternating runs. Only the ratio can be compared between
machines, and even that leans on how busy one was; nothing fails by it. A row stays until it is
measured again.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the first table. `wanted` is the ratio it should keep to; `rest` says what the
    time above that is spent on, where it cannot."""

    work: str
    against: str
    wanted: float
    rest: str = ""

    @property
    def begin(self) -> str:
        return f"| {self.work} | {self.against} | {self.wanted:.2f} |"

    def unmeasured(self) -> str:
        return f"{self.begin} not measured | | | | | {self.rest} |"

    def measured(self, pair: Pair) -> str:
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        ours, raw = (seconds(statistics.median(one)) for one in (pair.ours, pair.raw))
        cells = [f"{pair.ratio:.2f}", ours, raw, str(pair.runs), f"{day}, {machine()}", self.rest]
        return f"{self.begin} {' | '.join(cells)} |"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One line of the second table: seconds with few things and with ten times as many."""

    work: str
    few: float
    many: float

    @property
    def begin(self) -> str:
        return f"| {self.work} |"

    def line(self) -> str:
        each = 1000 * (self.many - self.few) / (MANY - FEW)
        return f"{self.begin} {seconds(self.few)} | {seconds(self.many)} | {each:.2f} ms |"


FEW: Final = 20
MANY: Final = 200
CONTAINERS: Final = 10
"""For each instance."""


def write(
    path: Path, rows: Iterable[Row], pairs: Mapping[str, Pair], growths: Iterable[Growth]
) -> None:
    """Renew what was measured, and keep the rest."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    compared = [
        row.measured(pairs[row.work]) if row.work in pairs else _kept(row, before) for row in rows
    ]
    grown = [one.line() for one in growths] or _second_table(before)
    path.write_text(_text(compared, grown), encoding="utf-8")


def _kept(row: Row, before: Iterable[str]) -> str:
    """The line there was, with today's remark."""
    for line in before:
        if line.startswith(row.begin):
            return f"{line.rsplit('|', 2)[0]}| {row.rest} |"
    return row.unmeasured()


def _second_table(before: list[str]) -> list[str]:
    starts = [number for number, line in enumerate(before) if line.startswith("|--")]
    return [line for line in before[starts[-1] + 1 :] if line.startswith("|")] if starts else []


_HEAD: Final = (
    "| work | against | wanted | ratio | takes | the raw tools | runs | measured | the rest |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def _text(compared: list[str], grown: list[str]) -> str:
    small, large = FEW * CONTAINERS, MANY * CONTAINERS
    about = (
        f"{MANY} entries in the registry and {large:,} containers, as an engine's command lists"
        f" them, beside {FEW} and {small}: what each further entry costs stays small."
    )
    return "\n".join(
        [
            INTRODUCTION,
            _HEAD,
            *compared,
            "",
            "## Many instances",
            "",
            about,
            "",
            f"| work | {FEW} entries | {MANY} entries | each further entry |",
            "|---|---|---|---|",
            *grown,
            "",
        ]
    )
