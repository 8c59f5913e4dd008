"""What a check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`fix` is a command or a sentence; `repair` is what `doctor --fix` does, None for what it
    leaves to its user. `instance` is the id it is about, "" for the machine."""

    check: str
    level: Level
    text: str
    fix: str = ""
    instance: str = ""
    repair: Callable[[], None] | None = None
    repaired: bool = False


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def note(check: str, text: str, *, fix: str = "", instance: str = "") -> Finding:
    return Finding(check=check, level="note", text=text, fix=fix, instance=instance)


def problem(
    check: str,
    text: str,
    *,
    fix: str,
    instance: str = "",
    repair: Callable[[], None] | None = None,
) -> Finding:
    return Finding(
        check=check, level="problem", text=text, fix=fix, instance=instance, repair=repair
    )
