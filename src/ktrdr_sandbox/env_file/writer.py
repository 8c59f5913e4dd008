"""Writes `.env.sandbox`, readable by its owner alone since it holds the database password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ktrdr_sandbox.durable import replace_file

_PORT_PREFIXES = ("KTRDR_WORKER_BASE_PORT=", "KTRDR_WORKER_PORT_", "KTRDR_PORT_")


def render(sections: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """The file's text: a comment line and KEY=value lines for each section that has any."""
    blocks = []
    for title, values in sections:
        if values:
            lines = [f"# {title}", *(f"{key}={value}" for key, value in values.items())]
            blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def write(path: Path, sections: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Replace the file at once, mode 0600. Raises `cannot-write`."""
    replace_file(path, render(sections), mode=0o600)


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set these keys and leave every other line as its owner wrote it. Raises `cannot-write`.

    A new key goes behind the other ports, or to the end. Nothing is written when nothing changes.
    """
    before = path.read_text(encoding="utf-8")
    missing = dict(values)
    lines = []
    for line in before.splitlines():
        key = line.partition("=")[0].strip()
        lines.append(f"{key}={missing.pop(key)}" if key in missing else line)
    ports = [i for i, line in enumerate(lines, start=1) if line.startswith(_PORT_PREFIXES)]
    at = ports[-1] if ports else len(lines)
    lines[at:at] = [f"{key}={value}" for key, value in missing.items()]
    after = "\n".join(lines) + "\n"
    if after != before:
        replace_file(path, after, mode=0o600)
