"""The time of day, as it is written in answers and log lines."""

from datetime import UTC, datetime


def timestamp() -> str:
    """UTC without saying so, to the microsecond: 2026-11-23T08:21:57.473158."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
