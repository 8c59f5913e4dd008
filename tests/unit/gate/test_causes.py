"""Known log lines and what they mean."""

from __future__ import annotations

import pytest

from ktrdr_sandbox.gate.causes import MIGRATING, cause_of_exit, likely_cause

LINES = {
    "OSError: [Errno 122] Disk quota exceeded": "no space is left on a disk or volume",
    'FATAL:  password authentication failed for user "x"': "another password",
    "DETAIL:  The data directory was initialized by PostgreSQL version 15": "another version",
    'FATAL:  role "ktrdr" does not exist': "another database or user name",
    "ValueError: Unable to configure handler 'file'": "logs/ cannot be written",
    "Bind for 0.0.0.0:5432 failed: port is already allocated": "holds a host port of this stack",
    "OSError: [Errno 98] Address already in use": "two programs in one container",
    "ImportError: cannot import name 'x' from 'y'": "needs a Python module",
    "SyntaxError: invalid syntax": "does not parse",
    "exec /usr/bin/python3: exec format error": "another kind of processor",
    'exec: "uvicorn": executable file not found in $PATH': "lacks the command",
    "fork: Cannot allocate memory": "not enough memory",
    "PermissionError: [Errno 13] Permission denied: '/app/x'": "may not use a file or folder",
    "socket.gaierror: [Errno -3] Temporary failure in name resolution": "looks for another one",
    'relation "operations" does not exist': "the database has no tables yet",
}


@pytest.mark.parametrize(("line", "text"), LINES.items())
def test_a_known_line_tells_the_cause(line: str, text: str) -> None:
    cause = likely_cause(["INFO starting", line, "Traceback"])
    assert cause is not None
    assert text in cause.text


def test_the_handler_that_cannot_open_its_file_beats_the_permission_it_lacked() -> None:
    cause = likely_cause(
        ["PermissionError: [Errno 13] Permission denied", "Unable to configure handler 'file'"]
    )
    assert cause is not None
    assert cause.text == "logs/ cannot be written by the container's user"


def test_a_line_that_services_print_that_are_well_counts_only_after_an_end() -> None:
    lines = ['WARNING: relation "operations" does not exist']
    assert likely_cause(lines, ended=False) is None
    assert likely_cause(lines, ended=True) is not None


@pytest.mark.parametrize(
    ("status", "has_lines", "text"),
    [
        (1, True, "its program ended by itself: its last lines say why"),
        (0, False, "its program ended by itself: it printed nothing"),
        (127, True, "the image lacks the command that the service starts"),
        (137, False, "something killed it; the machine may be out of memory"),
        (139, False, "it crashed (segmentation fault)"),
    ],
)
def test_an_exit_status_is_read_where_the_lines_say_nothing(
    status: int, has_lines: bool, text: str
) -> None:
    assert cause_of_exit(status, has_lines=has_lines).text == text


def test_ordinary_lines_have_no_cause() -> None:
    assert likely_cause(["INFO: Started server process [1]", "GET /api/v1/health 200"]) is None
    assert likely_cause([]) is None


MIGRATION_LINES = {
    "the image was built without alembic": "this image has no alembic",
    "the database is at a revision that this branch does not have": (
        "FAILED: Can't locate revision identified by '9f3c'"
    ),
    "the branch has several heads of its revisions; alembic merge heads joins them": (
        "FAILED: Multiple head revisions are present for given argument 'head'"
    ),
    "what a migration makes is there already: something other than alembic made it": (
        'psycopg.errors.DuplicateTable: relation "operations" already exists'
    ),
    "a migration of this branch needs what no earlier one makes": (
        'psycopg.errors.UndefinedColumn: column "price" does not exist'
    ),
}


@pytest.mark.parametrize(("text", "line"), list(MIGRATION_LINES.items()))
def test_the_output_of_a_migration_has_causes_of_its_own(text: str, line: str) -> None:
    cause = likely_cause(["INFO  [alembic.runtime.migration]", line], among=MIGRATING)
    assert cause is not None
    assert cause.text == text
