from __future__ import annotations

import pytest

from ktrdr_sandbox.cli.error_table import MEANING, entries, exit_code
from ktrdr_sandbox.errors import ErrorCode


@pytest.mark.parametrize(
    ("command", "code", "expected"),
    [
        ("create", "slots-exhausted", 1),
        ("create", "slot-taken", 1),
        ("create", "port-conflict", 1),
        ("create", "worktree-conflict", 2),
        ("create", "worktree-failed", 2),
        ("create", "directory-exists", 3),
        ("init", "already-initialised", 1),
        ("init", "not-a-repository", 2),
        ("init", "port-conflict", 3),
        ("up", "compose-failed", 1),
        ("up", "image-missing", 1),
        ("up", "gate-failed", 2),
        ("up", "port-conflict", 3),
        ("wait", "gate-failed", 2),
        ("down", "teardown-incomplete", 1),
        ("list", "docker-missing", 69),
        ("up", "docker-not-answering", 69),
        ("up", "compose-too-old", 69),
        ("create", "git-missing", 69),
        ("status", "no-such-instance", 66),
        ("down", "not-in-instance", 66),
        ("create", "usage", 64),
        ("destroy", "confirmation-needed", 64),
        ("list", "internal", 70),
        ("create", "cannot-write", 73),
        ("create", "lock-timeout", 75),
        ("destroy", "would-lose-work", 77),
        ("up", "bad-settings", 78),
        ("up", "interrupted", 130),
        ("ktrdr", "ktrdr-missing", 69),
        ("ktrdr", "env-file-damaged", 78),
        ("run", "command-not-found", 127),
        ("run", "command-not-executable", 126),
        ("run", "env-file-damaged", 78),
        ("exec", "service-not-running", 69),
        ("exec", "no-such-service", 64),
        ("open", "no-such-service", 64),
        ("logs", "no-such-service", 1),
        ("init-shared", "copy-incomplete", 1),
        ("init-shared", "source-missing", 2),
        ("init-shared", "archive-unsafe", 2),
        ("init-shared", "checksum-mismatch", 2),
        ("init-shared", "download-failed", 3),
    ],
)
def test_the_contracts_table(command: str, code: ErrorCode, expected: int) -> None:
    assert exit_code(command, code) == expected


def test_every_failure_has_a_status_that_is_documented() -> None:
    documented = {1, 2, 3} | set(MEANING) - {0}
    for entry in entries().values():
        assert {entry.status, *entry.status_of.values()} <= documented, entry
