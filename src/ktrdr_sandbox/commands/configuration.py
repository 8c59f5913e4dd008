"""What a person has approved of checkouts' settings files, and the settings by that.

Approvals are a list in `$KTRDR_HOME/sandbox/approvals.json`, mode 0600: exact content, repository
by repository. A file that cannot be read approves nothing.
"""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings_sources import Resolution, resolve
from ktrdr_sandbox.settings_sources import json_schema as json_schema

VERSION: Final = 1


def resolved(home: Home, checkout: Path | None) -> Resolution:
    """The settings as they count in a checkout, None outside of any. Raises `bad-settings`."""
    return resolve(home, checkout=checkout, approved=functools.partial(is_approved, home))


def checkout_around(directory: Path) -> Path | None:
    """The root of the working tree that a directory is in, or None."""
    try:
        return locate(directory).root
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return None


def repository_of(checkout: Path) -> str:
    """The repository's shared git folder, so that all of its worktrees count as one; or the
    directory itself where there is none."""
    try:
        return str(locate(checkout).common_dir)
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return str(checkout)


def is_approved(home: Home, checkout: Path, digest: str) -> bool:
    """Whether that content is approved for the repository of a checkout."""
    found = [entry["repository"] for entry in _load(home) if entry["sha256"] == digest]
    return bool(found) and repository_of(checkout) in found


def approve(context: Context, checkout: Path, digest: str) -> None:
    """Note an approval of exactly that content. Raises `cannot-write` and `lock-timeout`."""
    what = {"repository": repository_of(checkout), "sha256": digest}
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lock = context.home.sandbox / "locks" / "approvals.lock"
    with hold(lock, purpose="config approve", patience=30.0, tell=context.tell):
        others = [entry for entry in _load(context.home) if not what.items() <= entry.items()]
        document = {"version": VERSION, "approvals": [*others, {**what, "approved_at": when}]}
        text = json.dumps(document, indent=2) + "\n"
        replace_file(approvals_file(context.home), text, mode=0o600)


def approvals_file(home: Home) -> Path:
    """Where they are."""
    return home.sandbox / "approvals.json"


def _load(home: Home) -> list[dict[str, str]]:
    keys = ("repository", "sha256", "approved_at")
    try:
        document = json.loads(approvals_file(home).read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            return []
        return [{key: str(entry[key]) for key in keys} for entry in document["approvals"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
