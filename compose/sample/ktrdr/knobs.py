"""How one stack can be made to misbehave: `config/sample.toml`, read here and described here only.

The file lies in the checkout and is mounted into the containers, so an edit reaches one stack and
no other. A section is a role (`backend`, `worker`) or one service (`training-worker-1`), whose own
settings win over its role's. Without a setting a service behaves well. Settings about starting are
read at the start, the others each time they matter.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Knobs:
    """The settings of one service."""

    start_delay_seconds: float = 0
    """How long to do nothing before listening. Docker sees a running container meanwhile."""

    exit_code_at_start: int | None = None
    """Exit with this code instead of starting; the restart policy then makes it a crash loop."""

    allocate_mebibytes: int = 0
    """Hold this much memory, to meet a memory limit."""

    health_status: int = 200
    """The HTTP status of the health address."""

    hang: bool = False
    """Accept connections and never answer, on every address."""

    wrap_worker_list: bool = False
    """Backend: answer `{"workers": [...]}` as some revisions do, instead of a bare list."""

    never_register: bool = False
    """Worker: run, be healthy, and never tell the backend."""

    registration_pause_seconds: float = 2
    """Worker: between two of the five attempts to register."""

    quiet_seconds: float = 60
    """Worker: unasked for this long, it takes itself for lost and registers again."""


def read_knobs(role: str, service: str) -> Knobs:
    """Raises TypeError for an unknown setting, tomllib.TOMLDecodeError for a broken file."""
    path = Path(os.environ.get("KTRDR_CONFIG_DIR", "/app/config")) / "sample.toml"
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Knobs()
    return Knobs(**{**sections.get(role, {}), **sections.get(service, {})})
