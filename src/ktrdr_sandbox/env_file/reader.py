"""Reads `.env.sandbox` and finds the one that a directory belongs to."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ENV_FILE_NAME


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
    from io import StringIO

    from dotenv import dotenv_values  # not needed by commands that never read the file

    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {key: value for key, value in values.items() if value is not None}


def find(start: Path) -> Path | None:
    """The nearest `.env.sandbox` at `start` or above it, or None."""
    for folder in (start, *start.parents):
        candidate = folder / ENV_FILE_NAME
        if candidate.is_file():
            return candidate
    return None
