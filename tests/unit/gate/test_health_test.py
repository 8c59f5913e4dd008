"""A container's own health test, in Docker's two forms."""

from __future__ import annotations

import pytest

from ktrdr_sandbox.gate.health_test import command, last_line


@pytest.mark.parametrize(
    ("test", "argv"),
    [
        (("CMD", "curl", "-f", "http://localhost"), ("curl", "-f", "http://localhost")),
        (("CMD-SHELL", "pg_isready || exit 1"), ("/bin/sh", "-c", "pg_isready || exit 1")),
        (("NONE",), ()),
        ((), ()),
        (("SOMETHING", "else"), ()),
    ],
)
def test_the_command(test: tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert command(test) == argv


def test_the_last_line_that_says_something() -> None:
    assert last_line("first\n last \n\n") == "last"
    assert last_line("\n") == ""
