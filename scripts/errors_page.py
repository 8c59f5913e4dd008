"""docs/errors.md, made from the table of error codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ktrdr_sandbox.cli.error_table import MEANING, entries

HEAD: Final = """\
# Errors and exit statuses

Made by `python -m scripts.generate` from the program's own table; not to be edited.

A failure is told as `error:` and `hint:` lines on stderr, or in the `error` of the document that
`--json` prints. Its code is stable, its wording is not. `ktrdr-sandbox explain CODE` tells the same
as this page.
"""


def page() -> str:
    found = entries().values()
    rows = [(f"`{one.code}`", one.statuses, one.meaning, one.remedy) for one in found]
    everywhere = [(str(number), meaning) for number, meaning in MEANING.items()]
    return "\n".join(
        [
            HEAD,
            "## Exit statuses of every command\n",
            *_table(("exit status", "meaning"), everywhere),
            "\n1 is every other failure, and 1 to 3 are the command's own:\n",
            *_table(("command", "exit status", "codes"), _own_statuses()),
            "\n## Error codes\n",
            *_table(("code", "exit status", "meaning", "what to do"), rows),
            "",
        ]
    )


def _own_statuses() -> list[tuple[str, str, str]]:
    """By command and status, the codes for which the command has a status of its own."""
    own: dict[tuple[str, int], list[str]] = {}
    for entry in entries().values():
        for command, status in entry.status_of.items():
            own.setdefault((command, status), []).append(f"`{entry.code}`")
    return [
        (f"`{command}`", str(status), ", ".join(codes))
        for (command, status), codes in sorted(own.items())
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
