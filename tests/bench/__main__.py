"""What commands take against the raw tools, written to docs/benchmarks.md.

`python -m tests.bench [--runs N]` measures the quick commands and the growth with many instances:
about two minutes, without a stack. `--stacks` and `--shared` add what takes minutes for each run,
`--at-once N` so many stacks at once. It reports; it never fails by time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.bench import quick, scale, stacks
from tests.bench.harness import Pair, line
from tests.bench.page import PAGE, Growth, Row, write
from tests.bench.quick import Place

_TYPER: Final = '`python -c "import typer"`'
_CREATE_REST: Final = (
    "Typer alone takes longer to load than both together; then filelock, and ten questions to git"
)

ROWS: Final = (
    Row(work="`--version`", against=_TYPER, wanted=1.3),
    Row(work="completion of an instance's name", against=_TYPER, wanted=2.0),
    Row(work="`list`, 10 instances", against=f"{_TYPER} and `docker ps -a`", wanted=1.6),
    Row(work="`status`", against="the same and one round of HTTP", wanted=2.0),
    Row(
        work="`create`",
        against="`git worktree add` and a start of Python",
        wanted=1.5,
        rest=_CREATE_REST,
    ),
    Row(work="`up` to gate passed, the sample", against="`docker compose up --wait`", wanted=0.2),
    Row(
        work="`up` on what runs",
        against="`docker compose up -d`",
        wanted=1.2,
        rest="0.2 s are Compose's own look at what runs; 0.2 s reading the Compose file for the "
        "override, 0.4 s the whole gate, 0.6 s loading settings, python-on-whales and the rest",
    ),
    Row(
        work="`destroy`",
        against="`docker compose down -v` and `git worktree remove`",
        wanted=0.06,
    ),
    Row(work="`init-shared`", against="`cp -a`", wanted=1.3),
    Row(work="`init-shared` with nothing to do", against="`cp -a`", wanted=0.5),
    Row(
        work="five `up` at once, to all passed",
        against="five plain stacks at once",
        wanted=0.4,
        rest="bound by the processor, two cores for 55 containers: some 60 s of it are the "
        "engine's and the containers' own work, 17 s `docker` and `docker compose`, the rest this "
        "program",
    ),
)

QUICK: Final[Mapping[str, Callable[[Place, int], Pair]]] = {
    ROWS[0].work: quick.version,
    ROWS[1].work: quick.completion,
    ROWS[2].work: quick.list_instances,
    ROWS[3].work: quick.status,
    ROWS[4].work: quick.create,
}
_FIVE: Final = 5
UP, AGAIN, DESTROY, SHARED, REPEATED, SEVERAL = (row.work for row in ROWS[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="alternating runs of each")
    parser.add_argument("--page", type=Path, default=PAGE, help="the file to write")
    parser.add_argument("--only-slow", action="store_true", help="leave the quick ones out")
    parser.add_argument("--stacks", type=int, default=0, metavar="RUNS", help="one stack, so often")
    parser.add_argument("--shared", type=int, default=0, metavar="RUNS", help="init-shared")
    parser.add_argument("--at-once", type=int, default=0, metavar="N", help="N stacks at once")
    given = parser.parse_args()
    pairs: dict[str, Pair] = {}
    growths: list[Growth] = []
    if not given.only_slow:
        with quick.place() as at:
            for work, measure in QUICK.items():
                pairs[work] = _told(work, measure(at, given.runs))
            growths = scale.growths(at, max(3, given.runs // 3))
    if given.stacks:
        measured = zip((UP, AGAIN, DESTROY), stacks.one_stack(given.stacks), strict=True)
        pairs |= {work: _told(work, pair) for work, pair in measured}
    if given.shared:
        measured = zip((SHARED, REPEATED), stacks.shared(given.shared), strict=True)
        pairs |= {work: _told(work, pair) for work, pair in measured}
    if given.at_once:
        pair = _told(f"{given.at_once} `up` at once", stacks.several(1, given.at_once))
        if given.at_once == _FIVE:
            pairs[SEVERAL] = pair
    write(given.page, ROWS, pairs, growths)
    print(f"written: {given.page}")


def _told(work: str, pair: Pair) -> Pair:
    print(f"{work}: ratio {pair.ratio:.2f}")
    print(line("ours", pair.ours, digits=3))
    print(line("raw", pair.raw, digits=3), flush=True)
    return pair


if __name__ == "__main__":
    main()
