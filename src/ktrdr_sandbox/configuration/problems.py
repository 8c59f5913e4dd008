"""What is wrong with settings, each with its key, its value, what is allowed, and its place."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ktrdr_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from ktrdr_sandbox.configuration.layers import Origin

_NO_VALUE: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault. `text` tells what is allowed; without a `setting` it is about the whole file."""

    text: str
    origin: Origin
    setting: str | None = None
    value: Any = _NO_VALUE
    column: int | None = None

    def sentence(self) -> str:
        """One line for people."""
        subject = f"{self.setting}: " if self.setting is not None else ""
        found = "" if self.value is _NO_VALUE else f" (found {self.value!r})"
        return f"{subject}{self.text}{found}, in {self.origin}"

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "setting": self.setting,
            "value": None if self.value is _NO_VALUE else _plain(self.value),
            "allowed": self.text,
            "file": None if self.origin.path is None else str(self.origin.path),
            "line": self.origin.line,
            "column": self.column,
            "variable": self.origin.variable,
        }


class BadSettingsError(SandboxError):
    """All problems that were found, in one error."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        sentences = [problem.sentence() for problem in problems]
        places = dict.fromkeys(problem.origin.place for problem in problems)
        super().__init__(
            "bad-settings",
            "The settings cannot be used: " + "; ".join(sentences) + ".",
            hints=[f"Correct {place}" for place in places],
            details={
                "problems": sentences,
                "files": list(dict.fromkeys(str(p.origin.path) for p in problems if p.origin.path)),
                "found": [problem.facts() for problem in problems],
            },
        )
        self.problems = tuple(problems)


def no_such(key: str, known: Collection[str], *, prefix: str = "") -> str:
    """That there is no such setting, and the one that was probably meant, with the prefix."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return "no such setting" + (f"; did you mean '{prefix}{near[0]}'?" if near else "")


def raise_all(problems: Iterable[Problem]) -> None:
    """Raises BadSettingsError when there are any."""
    found = list(problems)
    if found:
        raise BadSettingsError(found)


def _plain(value: Any) -> Any:
    """TOML has dates, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
