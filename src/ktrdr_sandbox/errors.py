"""Expected failures: facts and a stable code; the wording may change, the code may not.

Hints are kept apart from the message and shown last. Exit statuses are not decided here but in
`cli/errors.toml`, because the same failure has different statuses in different commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

ErrorCode = Literal[
    "usage",
    "no-such-instance",
    "not-in-instance",
    "docker-missing",
    "docker-not-answering",
    "compose-missing",
    "compose-too-old",
    "git-missing",
    "internal",
    "cannot-write",
    "file-exists",
    "lock-timeout",
    "would-lose-work",
    "confirmation-needed",
    "bad-settings",
    "hook-failed",
    "interrupted",
    "slots-exhausted",
    "slot-taken",
    "not-stopped",
    "problems-found",
    "port-conflict",
    "worktree-conflict",
    "worktree-failed",
    "not-a-repository",
    "directory-exists",
    "instance-exists",
    "already-initialised",
    "env-file-damaged",
    "compose-file-missing",
    "compose-file-invalid",
    "isolation-refused",
    "compose-failed",
    "image-missing",
    "network-pool-exhausted",
    "gate-failed",
    "teardown-incomplete",
    "registry-newer",
    "engine-failed",
    "git-failed",
    "no-such-service",
    "service-not-running",
    "ktrdr-missing",
    "command-not-found",
    "command-not-executable",
    "source-missing",
    "source-unusable",
    "archive-unsafe",
    "archive-damaged",
    "checksum-mismatch",
    "download-failed",
    "copy-incomplete",
    "some-failed",
    "shared-folder-linked",
]


class SandboxError(Exception):
    """A failure the program foresees. `details` holds the facts as JSON-ready values."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        hints: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.hints = tuple(hints)
        self.details = dict(details or {})
