"""What `config` shows, and what a person has approved of checkouts' settings files.

Approvals are a list in `$KTRDR_HOME/sandbox/approvals.json`, mode 0600: exact content, repository
by repository. A file that cannot be read approves nothing.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import FIELDS, settings_files
from ktrdr_sandbox.settings_sources import Origin, Resolution, Withheld, json_schema, resolve

VERSION: Final = 1
schema = json_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting by its flat key; `value` is JSON-ready."""

    name: str
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All settings as they count in a checkout, None outside of any."""

    checkout: Path | None
    settings: tuple[Setting, ...]
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
        remarks=tuple(found.remarks.values()),
        withheld=found.withheld,
    )


def files(context: Context, checkout: Path | None) -> tuple[Path, ...]:
    """The settings files, strongest first, whether they are there or not."""
    return settings_files(context.home, checkout)


def request(context: Context, checkout: Path) -> Request:
    """What there is to approve. Raises `bad-settings`."""
    found = _resolve(context, checkout)
    return Request(
        checkout=checkout,
        repository=_repository_of(checkout),
        asked=found.asked,
        approved=found.withheld is None,
    )


def grant(context: Context, wanted: Request) -> None:
    """Approve exactly what the request holds, whatever the file says by now."""
    if wanted.asked is not None:
        approve(context, wanted.checkout, wanted.asked.digest)


def is_approved(home: Home, checkout: Path, digest: str) -> bool:
    """Whether that content is approved for the repository of a checkout."""
    found = [entry["repository"] for entry in _load(home) if entry["sha256"] == digest]
    return bool(found) and _repository_of(checkout) in found


def approve(context: Context, checkout: Path, digest: str) -> None:
    """Note an approval. Raises `cannot-write` and `lock-timeout`."""
    what = {"repository": _repository_of(checkout), "sha256": digest}
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lock = context.home.sandbox / "locks" / "approvals.lock"
    with hold(lock, purpose="config approve", patience=30.0, tell=context.tell):
        others = [entry for entry in _load(context.home) if not what.items() <= entry.items()]
        document = {"version": VERSION, "approvals": [*others, {**what, "approved_at": when}]}
        text = json.dumps(document, indent=2) + "\n"
        replace_file(approvals_file(context.home), text, mode=0o600)


def approvals_file(home: Home) -> Path:
    return home.sandbox / "approvals.json"


def _repository_of(checkout: Path) -> str:
    """The repository's shared git folder, so that all of its worktrees count as one; or the
    directory itself where there is none."""
    try:
        return str(locate(checkout).common_dir)
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return str(checkout)


def _load(home: Home) -> list[dict[str, str]]:
    keys = ("repository", "sha256", "approved_at")
    try:
        document = json.loads(approvals_file(home).read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            return []
        return [{key: str(entry[key]) for key in keys} for entry in document["approvals"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _resolve(context: Context, checkout: Path | None) -> Resolution:
    approved = functools.partial(is_approved, context.home)
    return resolve(context.home, checkout=checkout, approved=approved)
