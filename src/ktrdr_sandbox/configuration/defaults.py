"""The default of every setting, and whether anything at all is set somewhere.

Mostly nothing is. Then the defaults count as they stand, and pydantic, which judges what people
write, is not loaded: it takes longer than most commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.paths import Home

CHECKOUT_FILE: Final = ".ktrdr-sandbox.toml"
PREFIX: Final = "KTRDR_SANDBOX_"


class NoHooks(NamedTuple):
    """No command at any moment."""

    after_create: tuple[tuple[str, ...], ...] = ()
    after_ready: tuple[tuple[str, ...], ...] = ()
    before_destroy: tuple[tuple[str, ...], ...] = ()


class Defaults(NamedTuple):
    """Settings that nobody has set. What each means is told in `settings.Settings`."""

    bind_address: str = "127.0.0.1"
    compose_file: str | None = None
    health_paths: tuple[str, ...] = ("/health", "/api/v1/health")
    gate_timeout: float = 120.0
    heal_workers: bool = True
    migrate: Literal["auto", "always", "never"] = "auto"
    allow: frozenset[str] = frozenset()
    network_pool: str | None = None
    ktrdr_command: tuple[str, ...] | None = None
    trash_days: float = 7.0
    lock_patience: float = 600.0
    copy_files: tuple[str, ...] = ()
    hooks: NoHooks = NoHooks()
    hook_timeout: float = 600.0
    demo_database_image: str = "timescale/timescaledb:latest-pg16"
    demo_python_image: str = "python:3.12-slim"
    demo_prometheus_image: str = "prom/prometheus:latest"
    demo_grafana_image: str = "grafana/grafana:latest"
    demo_jaeger_image: str = "jaegertracing/all-in-one:1.53"


DEFAULTS: Final = Defaults()


def is_nothing_set(home: Home, checkout: Path | None) -> bool:
    """Whether there is no variable, no file of the user and none of the checkout to read."""
    if any(name.upper().startswith(PREFIX) for name in os.environ):
        return False
    files = [home.config, *([checkout / CHECKOUT_FILE] if checkout is not None else [])]
    return all(_is_absent(path) for path in files)


def may_name(word: str, *files: Path, variables: Iterable[str]) -> bool:
    """Whether a setting's name occurs in any source at all.

    For commands that need no setting but one: reading them properly costs a fifth of a second, and
    a fault in another setting is nothing to them.
    """
    if any(name.upper().startswith(PREFIX + word.upper()) for name in variables):
        return True
    return any(path.is_file() and word.encode() in path.read_bytes() for path in files)


def _is_absent(path: Path) -> bool:
    """For certain; what cannot be looked at may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
