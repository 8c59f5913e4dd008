"""What a person has approved of checkouts' settings files: exact content, repository by repository.

A list in `$KTRDR_HOME/sandbox/approvals.json`, mode 0600. A file that cannot be read approves
nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.git.repository import locate
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home

VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`repository` is its shared git folder, so that all of its worktrees count as one."""

    repository: str
    sha256: str
    approved_at: str


def is_approved(home: Home, checkout: Path, digest: str) -> bool:
    """Whether that content is approved for the repository of a checkout."""
    found = [one.repository for one in _load(home) if one.sha256 == digest]
    return bool(found) and repository_of(checkout) in found


def approve(context: Context, checkout: Path, digest: str) -> Approval:
    """Note an approval. Raises `cannot-write` and `lock-timeout`."""
    made = Approval(
        repository=repository_of(checkout),
        sha256=digest,
        approved_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    lock = context.home.sandbox / "locks" / "approvals.lock"
    with hold(lock, purpose="config approve", patience=30.0, tell=context.tell):
        others = [one for one in _load(context.home) if _what(one) != _what(made)]
        document = {"version": VERSION, "approvals": [asdict(one) for one in (*others, made)]}
        replace_file(path_of(context.home), json.dumps(document, indent=2) + "\n", mode=0o600)
    return made


def path_of(home: Home) -> Path:
    return home.sandbox / "approvals.json"


def repository_of(checkout: Path) -> str:
    """The repository's shared git folder, or the directory itself where there is none."""
    try:
        return str(locate(checkout).common_dir)
    except SandboxError as error:
        if error.code != "not-a-repository":
            raise
        return str(checkout)


def _what(approval: Approval) -> tuple[str, str]:
    return approval.repository, approval.sha256


def _load(home: Home) -> list[Approval]:
    try:
        document = json.loads(path_of(home).read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            return []
        return [_approval(entry) for entry in document["approvals"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _approval(entry: dict[str, Any]) -> Approval:
    return Approval(
        repository=str(entry["repository"]),
        sha256=str(entry["sha256"]),
        approved_at=str(entry["approved_at"]),
    )
