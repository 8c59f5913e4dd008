"""Examples for each command, from `examples.toml`."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path


@functools.cache
def examples() -> dict[str, list[tuple[str, str]]]:
    """Whole command lines by command, each with its remark."""
    table = tomllib.loads(Path(__file__).with_name("examples.toml").read_text(encoding="utf-8"))
    return {
        command: [
            (text if "ktrdr-sandbox" in text else f"ktrdr-sandbox {text}", remark)
            for text, remark in lines
        ]
        for command, lines in table.items()
    }


def epilog(command: str) -> str | None:
    """What a command's help ends with; the mark in front keeps its lines from being rewrapped."""
    found = examples().get(command)
    if not found:
        return None
    width = max(len(line) for line, _ in found)
    shown = [
        f"  {line.ljust(width)}  # {remark}" if remark else f"  {line}" for line, remark in found
    ]
    return "\n".join(["\b", "Examples:", *shown])
