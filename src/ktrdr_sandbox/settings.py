"""Settings and where each value came from.

Order, strongest first: `KTRDR_SANDBOX_*` variables, `.ktrdr-sandbox.toml` in the checkout,
`$KTRDR_HOME/sandbox/config.toml`, defaults.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home

CHECKOUT_FILE: Final = ".ktrdr-sandbox.toml"
PREFIX: Final = "KTRDR_SANDBOX_"


class Settings(BaseSettings):
    """All settings of the program. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    bind_address: str = Field("127.0.0.1", description="Address that host ports are published on")
    compose_file: str | None = Field(
        None, description="Compose file, relative to the checkout, instead of the usual search"
    )
    health_paths: tuple[str, ...] = Field(
        ("/health", "/api/v1/health"),
        description="Backend health paths; the next is tried where one answers 404",
    )
    gate_timeout: float = Field(120.0, gt=0, description="Longest wait for a stack to be ready")
    heal_workers: bool = Field(
        True, description="Restart, once, workers that are up but never registered"
    )
    migrate: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether up applies the checkout's alembic migrations: where nothing else does,"
        " always, or never",
    )
    allow: frozenset[str] = Field(
        frozenset(), description="Refusals of isolation to let pass, by the name each gives"
    )
    network_pool: str | None = Field(
        None, description="CIDR from which each slot gets its own small subnets"
    )
    ktrdr_command: tuple[str, ...] | None = Field(
        None, min_length=1, description="Command that 'ktrdr' hands over to, instead of a search"
    )
    trash_days: float = Field(
        7.0, ge=0, description="Days for which gc keeps what destroy --force moved to the trash"
    )
    lock_patience: float = Field(
        600.0, gt=0, description="Longest wait for another command on the same instance"
    )
    demo_database_image: str = "timescale/timescaledb:latest-pg16"
    demo_python_image: str = "python:3.12-slim"
    demo_prometheus_image: str = "prom/prometheus:latest"
    demo_grafana_image: str = "grafana/grafana:latest"
    demo_jaeger_image: str = "jaegertracing/all-in-one:1.53"

    @field_validator("bind_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))

    @field_validator("network_pool")
    @classmethod
    def _is_network(cls, value: str | None) -> str | None:
        return None if value is None else str(ipaddress.ip_network(value))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  no .env is ours
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = getattr(settings_cls, "files", ())
        toml = [TomlConfigSettingsSource(settings_cls, toml_file=path) for path in files]
        return (init_settings, env_settings, *toml)


def load_settings(home: Home, *, checkout: Path | None) -> Settings:
    """Read all sources. Raises `bad-settings` with key, value, what is allowed, and the files."""
    candidates = [home.config] if checkout is None else [checkout / CHECKOUT_FILE, home.config]

    class Located(Settings):
        files: ClassVar[tuple[Path, ...]] = tuple(path for path in candidates if path.is_file())

    try:
        return Located.model_validate({})
    except ValidationError as error:
        raise _bad(_sentences(error), candidates) from error
    except (SettingsError, ValueError) as error:
        raise _bad([str(error)], candidates) from error


def _sentences(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']} "
        f"(found {problem['input']!r})"
        for problem in error.errors()
    ]


def _bad(problems: list[str], files: list[Path]) -> SandboxError:
    read = [str(path) for path in files if path.is_file()]
    details: dict[str, Any] = {"problems": problems, "files": read}
    return SandboxError(
        "bad-settings",
        "The settings cannot be used: " + "; ".join(problems),
        hints=(f"They come from {PREFIX}* variables" + "".join(f" and {p}" for p in read) + ".",),
        details=details,
    )
