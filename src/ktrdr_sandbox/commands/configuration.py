"""What `config` shows: every setting with its origin, and what a checkout's file asks for."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrdr_sandbox.commands.approvals import approve, is_approved, repository_of
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.configuration.layers import Origin
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.settings import CHECKOUT_FILE, FIELDS, Resolution, Settings, Withheld, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting by its flat key; `value` is JSON-ready."""

    name: str
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All settings as they count in a checkout, None outside of any. `files` may not exist."""

    checkout: Path | None
    settings: tuple[Setting, ...]
    files: tuple[Path, ...]
    remarks: tuple[str, ...]
    withheld: Withheld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a checkout's file sets that needs approval; None when it sets no such thing."""

    checkout: Path
    repository: str
    asked: Withheld | None
    approved: bool


def checkout_around(directory: Path) -> Path | None:
    """The root of the working tree that a directory is in, or None."""
    try:
        return locate(directory).root
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return None


def survey(context: Context, checkout: Path | None) -> Survey:
    """Raises `bad-settings`."""
    found = _resolve(context, checkout)
    return Survey(
        checkout=checkout,
        settings=tuple(
            Setting(name=key, value=found.value(key), origin=found.origins[key]) for key in FIELDS
        ),
        files=files(context, checkout),
        remarks=tuple(found.remarks.values()),
        withheld=found.withheld,
    )


def files(context: Context, checkout: Path | None) -> tuple[Path, ...]:
    """The settings files, strongest first, whether they are there or not."""
    own = context.home.config
    return (own,) if checkout is None else (checkout / CHECKOUT_FILE, own)


def request(context: Context, checkout: Path) -> Request:
    """What there is to approve. Raises `bad-settings`."""
    found = _resolve(context, checkout)
    return Request(
        checkout=checkout,
        repository=repository_of(checkout),
        asked=found.asked,
        approved=found.withheld is None,
    )


def grant(context: Context, wanted: Request) -> None:
    """Approve exactly what the request holds, whatever the file says by now."""
    if wanted.asked is not None:
        approve(context, wanted.checkout, wanted.asked.digest)


def schema() -> Mapping[str, Any]:
    """JSON Schema of a settings file."""
    found = Settings.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "ktrdr-sandbox settings",
        "description": f"{CHECKOUT_FILE} and config.toml of ktrdr-sandbox. Times are in seconds.",
    }


def _resolve(context: Context, checkout: Path | None) -> Resolution:
    approved = functools.partial(is_approved, context.home)
    return resolve(context.home, checkout=checkout, approved=approved)
