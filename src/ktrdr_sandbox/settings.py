"""The settings, their defaults, and whether any of them is set.

Mostly none is. Then the defaults count as they stand, and `settings_sources`, which judges what
people write, is not loaded: pydantic takes longer than most commands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ktrdr_sandbox.paths import Home

CHECKOUT_FILE: Final = ".ktrdr-sandbox.toml"
PREFIX: Final = "KTRDR_SANDBOX_"

Hook = Literal["after_create", "after_ready", "before_destroy"]
HOOKS: Final[tuple[Hook, ...]] = get_args(Hook)
Commands = tuple[tuple[str, ...], ...]  # to run one after the other, each a list of words
Approved = Callable[[Path, str], bool]
"""Whether a person has approved the content of that digest for the repository of a checkout."""


def _setting(default: Any, description: str, **limits: Any) -> Any:
    """A field; the description and the limits are given to pydantic by their names."""
    return dataclasses.field(default=default, metadata={"description": description, **limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Commands of the user's own at moments of an instance's life."""

    after_create: Commands = _setting((), "Run in the new worktree, when create is done")
    after_ready: Commands = _setting((), "Run when up has proven the stack ready")
    before_destroy: Commands = _setting((), "Run before destroy removes anything")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the program. Times are in seconds."""

    bind_address: str = _setting("127.0.0.1", "Address that host ports are published on")
    compose_file: str | None = _setting(
        None, "Compose file, relative to the checkout, instead of a search; several as one:two"
    )
    env_files: tuple[str, ...] = _setting(
        (), "Files with values for the Compose file, relative to the checkout, instead of its .env"
    )
    profiles: tuple[str, ...] = _setting(
        (), "Profiles of the Compose file to start, instead of COMPOSE_PROFILES in .env"
    )
    health_paths: tuple[str, ...] = _setting(
        ("/health", "/api/v1/health"),
        "Backend health paths; the next is tried where one answers 404",
    )
    gate_timeout: float = _setting(120.0, "Longest wait for a stack to be ready", gt=0)
    heal_workers: bool = _setting(True, "Restart, once, workers that are up but never registered")
    migrate: Literal["auto", "always", "never"] = _setting(
        "auto",
        "Whether up applies the checkout's alembic migrations: where nothing else does, always, or "
        "never",
    )
    allow: frozenset[str] = _setting(
        frozenset(), "Refusals of isolation to let pass, by the name each gives"
    )
    network_pool: str | None = _setting(
        None, "CIDR from which each slot gets its own small subnets"
    )
    ktrdr_command: tuple[str, ...] | None = _setting(
        None, "Command that 'ktrdr' hands over to, instead of a search", min_length=1
    )
    trash_days: float = _setting(
        7.0, "Days for which gc keeps what destroy --force moved to the trash", ge=0
    )
    lock_patience: float = _setting(
        600.0, "Longest wait for another command on the same instance", gt=0
    )
    destroy_grace: float = _setting(
        5.0, "Longest wait of destroy for a container that writes to what outlives it", ge=0
    )
    copy_files: tuple[str, ...] = _setting(
        (), "Git-ignored files that create copies, as in `.worktreeinclude`"
    )
    hooks: Hooks = Hooks()
    hook_timeout: float = _setting(600.0, "Longest run of one command of a hook", gt=0)
    demo_database_image: str = _setting(
        "timescale/timescaledb:latest-pg16", "Image of the database in the sample application"
    )
    demo_python_image: str = _setting(
        "python:3.12-slim", "Image of Python in the sample application"
    )
    demo_prometheus_image: str = _setting(
        "prom/prometheus:latest", "Image of Prometheus in the sample application"
    )
    demo_grafana_image: str = _setting(
        "grafana/grafana:latest", "Image of Grafana in the sample application"
    )
    demo_jaeger_image: str = _setting(
        "jaegertracing/all-in-one:1.53", "Image of Jaeger in the sample application"
    )


TABLES: Final = frozenset({"hooks"})  # the settings that are tables of others

FIELDS: Final[Mapping[str, dataclasses.Field[Any]]] = {
    f"hooks.{inner.name}" if field.name in TABLES else field.name: inner
    for field in dataclasses.fields(Settings)
    for inner in (dataclasses.fields(Hooks) if field.name in TABLES else (field,))
}
"""Every setting by its flat key: `gate_timeout`, `hooks.after_create`."""


def as_data(settings: Settings) -> dict[str, Any]:
    """All of them, JSON-ready; what has no order is sorted."""
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings), default=sorted))
    return found


def load_settings(
    home: Home, *, checkout: Path | None, approved: Approved = lambda *_: False
) -> Settings:
    """The settings that count. Raises `bad-settings`."""
    if is_nothing_set(home, checkout):
        return Settings()
    from ktrdr_sandbox.settings_sources import resolve  # pydantic, 0.2 s

    return resolve(home, checkout=checkout, approved=approved).settings


def settings_files(home: Home, checkout: Path | None) -> tuple[Path, ...]:
    """The files that may set something, strongest first, whether they are there or not."""
    return (home.config,) if checkout is None else (checkout / CHECKOUT_FILE, home.config)


def is_nothing_set(home: Home, checkout: Path | None) -> bool:
    """Whether there is no variable, no file of the user and none of the checkout to read."""
    if any(name.upper().startswith(PREFIX) for name in os.environ):
        return False
    for path in settings_files(home, checkout):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return False  # what cannot be looked at may be there
        return False
    return True


def may_be_set(word: str, home: Home, checkout: Path | None, *, variables: Iterable[str]) -> bool:
    """Whether a setting's name occurs in any source at all.

    For commands that need no setting but one: a fault in another setting is nothing to them.
    """
    if any(name.upper().startswith(PREFIX + word.upper()) for name in variables):
        return True
    for path in settings_files(home, checkout):
        with contextlib.suppress(OSError):
            if path.is_file() and word.encode() in path.read_bytes():
                return True
    return False
