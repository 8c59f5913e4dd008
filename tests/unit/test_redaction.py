from __future__ import annotations

import json

import pytest

from ktrdr_sandbox.redaction import redact, redact_all

PLANTED = "s3cr3t-value"


@pytest.mark.parametrize(
    "text",
    [
        f"DB_PASSWORD={PLANTED}",
        f"export JWT_SECRET='{PLANTED}'",
        f'"api_key": "{PLANTED}"',
        f"ANTHROPIC_API_KEY: {PLANTED}",
        f"postgresql://ktrdr:{PLANTED}@db:5432/ktrdr",
        f"GITHUB_TOKEN={PLANTED} docker build",
        f"password = {PLANTED}",
    ],
)
def test_a_planted_secret_is_hidden(text: str) -> None:
    assert PLANTED not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user ktrdr",
        "http://localhost:8001/health returned 500",
        "Port 8002 is already in use by python3 (pid 7).",
        "the token bucket is empty",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_nested_values_are_hidden_by_name_and_by_text() -> None:
    document = {
        "env": {"DB_PASSWORD": PLANTED, "DB_USER": "ktrdr"},
        "lines": [f"token={PLANTED}", "fine"],
        "count": 3,
        "nothing": None,
    }
    shown = redact_all(document)
    assert PLANTED not in json.dumps(shown)
    assert shown["env"]["DB_USER"] == "ktrdr"
    assert (shown["lines"][1], shown["count"], shown["nothing"]) == ("fine", 3, None)
