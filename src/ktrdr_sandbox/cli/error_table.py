"""Error codes and exit statuses as tables: for `explain`, and printed into docs/errors.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from ktrdr_sandbox.cli.exit_codes import BY_COMMAND, MEANING, exit_code
from ktrdr_sandbox.cli.explanations import EXPLANATIONS
from ktrdr_sandbox.console.codes import statuses
from ktrdr_sandbox.errors import ErrorCode

_HEAD: Final = """\
# Errors and exit statuses

Made by `python -m scripts.generate` from the program's own tables; not to be edited.

A failure is told as `error:` and `hint:` lines on stderr, or in the `error` of the document that
`--json` prints. Its code is stable, its wording is not. `ktrdr-sandbox explain CODE` tells the same
as this page.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One code. `elsewhere` are exit statuses of commands in which it is another."""

    code: ErrorCode
    meaning: str
    remedy: str
    exit_status: int
    elsewhere: Mapping[str, int]


def entries() -> Iterator[Entry]:
    """Every code, in the order of the explanations."""
    for code, (meaning, remedy) in EXPLANATIONS.items():
        usual = exit_code("", code)
        elsewhere = {
            command: own[code]
            for command, own in BY_COMMAND.items()
            if own.get(code, usual) != usual
        }
        yield Entry(
            code=code,
            meaning=meaning,
            remedy=remedy,
            exit_status=usual,
            elsewhere=elsewhere,
        )


def unexplained() -> set[str]:
    """Codes that `cli/explanations.py` lacks."""
    return {*get_args(ErrorCode)} - {*EXPLANATIONS}


def page() -> str:
    """docs/errors.md."""
    rows = [(f"`{e.code}`", statuses(e), e.meaning, e.remedy) for e in entries()]
    codes = _table(("code", "exit status", "meaning", "what to do"), rows)
    everywhere = _table(
        ("exit status", "meaning"), [(str(number), text) for number, text in MEANING.items()]
    )
    own = _table(("command", "exit status", "codes"), list(_own_statuses()))
    return "\n".join(
        [
            _HEAD,
            "## Exit statuses of every command\n",
            *everywhere,
            "\n1 is every other failure, and 1 to 3 are the command's own:\n",
            *own,
            "\n## Error codes\n",
            *codes,
            "",
        ]
    )


def _own_statuses() -> Iterator[tuple[str, str, str]]:
    for command, own in BY_COMMAND.items():
        for status in sorted(set(own.values())):
            codes = ", ".join(f"`{code}`" for code, number in own.items() if number == status)
            yield f"`{command}`", str(status), codes


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
