"""Reads `.env.sandbox` and finds the one that a directory belongs to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import ENV_FILE_NAME

_PLAIN: Final = re.compile(r"(?:#.*|([A-Za-z_]\w*)=([A-Za-z0-9_./:@%+,=-]*)|)", re.ASCII)
"""A line as this program writes it, which nobody reads in another way."""


def read(path: Path) -> dict[str, str]:
    """Values as written, nothing expanded. Raises `env-file-damaged` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxError(
            "env-file-damaged",
            f"Cannot read {path}: {error}.",
            hints=("Restore it, or destroy and create the instance again.",),
            details={"path": str(path)},
        ) from error
    return _parse(text)


def _parse(text: str) -> dict[str, str]:
    lines = [_PLAIN.fullmatch(line) for line in text.split("\n")]
    plain = [line for line in lines if line is not None]
    if len(plain) == len(lines):
        return {line[1]: line[2] for line in plain if line[1] is not None}
    from io import StringIO

    from dotenv import dotenv_values  # slow to import, and needed for a user's own lines only

    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {key: value for key, value in values.items() if value is not None}


def find(start: Path) -> Path | None:
    """The nearest `.env.sandbox` at `start` or above it, or None."""
    for folder in (start, *start.parents):
        candidate = folder / ENV_FILE_NAME
        # A link to nothing is found as well, for reading it to fail: another file, or none at all,
        # would mean another stack.
        if candidate.is_file() or candidate.is_symlink():
            return candidate
    return None
