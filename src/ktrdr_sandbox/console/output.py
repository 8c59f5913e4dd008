"""Where results and messages go: results on stdout, everything else on stderr.

With `json_mode` there is exactly one document on stdout and nothing on stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.redaction import redact, redact_all

SCHEMA: Final = "ktrdr-sandbox/1"


@dataclass
class Output:
    """One command's output. `command` is its name for the envelope."""

    command: str
    json_mode: bool = False
    messages: list[str] = field(default_factory=list)

    def tell(self, sentence: str) -> None:
        """A message for the user: at once on stderr, or later in the envelope."""
        shown = redact(sentence)
        self.messages.append(shown)
        if not self.json_mode:
            print(shown, file=sys.stderr, flush=True)

    def progress(self, line: str) -> None:
        """A line that only matters while it runs; never part of the envelope."""
        if not self.json_mode:
            print(redact(line), file=sys.stderr, flush=True)

    def result(self, text: str, data: dict[str, Any]) -> None:
        """The command's result, as text or as the envelope."""
        if self.json_mode:
            self._envelope(data=data, error=None)
        elif text:
            print(redact(text), flush=True)

    def disclosure(self, text: str, data: dict[str, Any]) -> None:
        """The one kind of result that keeps its secrets: somebody asked for just these.

        Messages beside it are redacted as ever. For `env` alone.
        """
        if self.json_mode:
            self._envelope(data=data, error=None, disclosed=True)
        else:
            print(text.removesuffix("\n"), flush=True)

    def failure(self, error: SandboxError, *, data: dict[str, Any] | None = None) -> None:
        """An expected failure: what happened, then the hints."""
        if self.json_mode:
            self._envelope(data=data or {}, error=_error(error))
            return
        for line in failure_lines(error.message, error.hints):
            print(redact(line), file=sys.stderr, flush=True)

    def _envelope(
        self, *, data: dict[str, Any], error: dict[str, Any] | None, disclosed: bool = False
    ) -> None:
        document = {
            "schema": SCHEMA,
            "command": self.command,
            "ok": error is None,
            "data": data if disclosed else redact_all(data),
            "messages": self.messages,
            "error": redact_all(error),
        }
        # Pure ASCII: valid whatever the locale, and for file names that are no text at all.
        print(json.dumps(document), flush=True)


def failure_lines(message: str, hints: Sequence[str]) -> list[str]:
    """`error:` with the facts, then one `hint:` a line."""
    return [f"error: {message}", *(f"hint: {hint}" for hint in hints)]


def _error(error: SandboxError) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "hints": list(error.hints),
        "details": error.details,
    }
