"""Secrets in every form and place that the program's output may hold them."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest

from ktrdr_sandbox.redaction import Redactor, is_secret_name, redact, redact_all, redactor_of

PLANTED = "s3cr3t-value"
TRICKY = "pa$$ w@rd/\"'\\;,&é"
SHORT_AND_PUBLIC = "ktrdr"


@pytest.mark.parametrize(
    "text",
    [
        f"DB_PASSWORD={PLANTED}",
        f"export JWT_SECRET='{PLANTED}'",
        f'"api_key": "{PLANTED}"',
        f"ANTHROPIC_API_KEY: {PLANTED}",
        f"postgresql://ktrdr:{PLANTED}@db:5432/ktrdr",
        f"postgresql://ktrdr:p@{PLANTED}@db:5432/ktrdr",
        f"redis://:{PLANTED}@cache",
        f"GITHUB_TOKEN={PLANTED} docker build",
        f"password = {PLANTED}",
        f"JWT_SIGNING_KEY={PLANTED}",
        f"SENTRY_DSN: {PLANTED}",
        f"SMTP_PASS={PLANTED}",
        f"passphrase: {PLANTED}",
        f"psql --password {PLANTED} -h db",
        f"--api-key={PLANTED}",
        f"  - DB_PASSWORD=one two;{PLANTED}, three",
        f"Authorization: Basic {PLANTED}",
        f"bearer {PLANTED}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{PLANTED} and then nothing",
        f"calling sk-ant-api03-{PLANTED}-abcdefgh",
        f"ghp_{PLANTED.replace('-', 'x')}abcdefghij",
        f"eyJ{PLANTED}.eyJhYmMiOjF9.c2lnbmF0dXJl",
    ],
)
def test_a_planted_secret_is_hidden(text: str) -> None:
    shown = redact(text)
    assert PLANTED not in shown
    assert PLANTED.replace("-", "x") not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user ktrdr",
        "http://localhost:8001/health returned 500",
        "Port 8002 is already in use by python3 (pid 7).",
        "the token bucket is empty",
        "services: key: backend: container_name",
        "primary key of operations: operation_id",
        "GET http://localhost:8002/api returned 404, mail me@example.org",
        "PATH=/usr/bin:/bin",
        "---------- 8< ----------",
        "sk-learn is not a key",
        'exec: "secret-tool": executable file not found in $PATH',
        "fatal: secrets.bin: smudge filter git-crypt failed",
        "filter.secret.smudge=git-secret smudge",
        "services.db.environment.DB_PASSWORD: required variable is missing a value",
        "${DB_PASSWORD:?required}",
        "DB_PASSWORD: required",
        "authorization: required",
        "TOKEN_MODE=required",
        "the option --password requires a value",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "JWT_SECRET",
        "ANTHROPIC_API_KEY",
        "db_password",
        "MY_TOKEN_2",
        "SSH_KEY",
        "APIKEY",
        "POSTGRES_PWD",
        "SENTRY_DSN",
        "REGISTRY_AUTH",
        "ENCRYPTION_KEYS",
        "credentials",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "KEY", "key", "PATH", "DB_NAME", "SSH_AUTH_SOCK", "KEYBOARD", "HOME"]
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


def test_nested_values_are_hidden_by_name_and_by_text() -> None:
    document = {
        "env": {"DB_PASSWORD": PLANTED, "DB_USER": "ktrdr"},
        "lines": [f"token={PLANTED}", "fine"],
        "list": [f"JWT_SECRET=with spaces, and commas;{PLANTED}", "DB_USER=ktrdr"],
        "key": "container_name",
        "count": 3,
        "nothing": None,
    }
    shown = redact_all(document)
    assert PLANTED not in json.dumps(shown)
    assert shown["env"]["DB_USER"] == "ktrdr"
    assert (shown["lines"][1], shown["count"], shown["nothing"]) == ("fine", 3, None)
    assert shown["list"] == ["JWT_SECRET=***", "DB_USER=ktrdr"]
    assert shown["key"] == "container_name"


def test_the_word_after_an_option_is_hidden_in_a_list_too() -> None:
    argv = ["psql", "--password", PLANTED, "--host", "db", "--token", "--verbose"]
    shown = redact_all({"Args": argv})["Args"]
    assert shown == ["psql", "--password", "***", "--host", "db", "--token", "--verbose"]


# -- by value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [PLANTED, TRICKY])
def test_a_known_value_is_hidden_in_every_spelling(secret: str) -> None:
    redactor = redactor_of({"DB_PASSWORD": secret, "DB_USER": "me"})
    spellings = [
        secret,
        json.dumps({"x": secret}),
        json.dumps({"x": json.dumps(secret, ensure_ascii=False)}, ensure_ascii=False),
        json.dumps(secret.replace("$", "$$")),
        quote(secret),
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode(),
        repr(secret),
    ]
    for text in spellings:
        shown = redactor.text(f"me: before {text} after")
        assert secret not in shown
        assert shown.startswith("me: before "), shown
        assert shown.endswith(" after"), shown
        assert len(shown) < len("me: before  after") + 24, shown
    assert secret not in json.dumps(redactor.data({"log": [f"it is {secret}!", {secret: 1}]}))


def test_the_password_within_an_address_is_a_secret_of_its_own() -> None:
    redactor = redactor_of({"DATABASE_URL": "postgresql+asyncpg://me:p%40ss-word@db:5432/ktrdr"})
    assert redactor.text("tried p@ss-word and p%40ss-word for me") == "tried *** and *** for me"


def test_every_line_of_a_long_secret_is_one() -> None:
    redactor = redactor_of({"SSH_KEY": "first-line\nsecond-line\nend"})
    assert redactor.text("a first-line b") == "a *** b"
    assert redactor.text("a second-line b") == "a *** b"
    assert redactor.text("the end") == "the end"


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    redactor = Redactor(["abcdefgh", "abcdefgh-and-more"])
    assert redactor.text("it is abcdefgh-and-more") == "it is ***"


def test_a_short_value_is_hidden_as_a_word_unless_it_is_public() -> None:
    redactor = redactor_of({"A_PASSWORD": "ktrdr", "B_PASSWORD": "hun7r", "DB_NAME": "ktrdr"})
    assert redactor.text("ktrdr--feat-x says hun7r, thun7red") == "ktrdr--feat-x says ***, thun7red"


@pytest.mark.parametrize("value", ["", "1", "true", "4096", "None"])
def test_a_value_that_tells_nothing_hides_nothing(value: str) -> None:
    text = f"1 true 4096 None {value}"
    assert redactor_of({"MAX_TOKENS": value}).text(text) == text


def test_a_plain_word_is_hidden_whole_and_only_under_a_name_that_is_certain() -> None:
    redactor = redactor_of({"DB_PASSWORD": "localdev", "REGISTRY_AUTH": "required"})
    shown = redactor.text("required: localdev, localdevelopment")
    assert shown == "required: ***, localdevelopment"


def test_a_long_value_is_hidden_even_if_another_variable_has_it() -> None:
    redactor = redactor_of({"DB_PASSWORD": PLANTED, "LEGACY": PLANTED})
    assert redactor.text(f"LEGACY is {PLANTED}") == "LEGACY is ***"


def test_a_value_that_is_no_text_does_no_harm() -> None:
    redactor = redactor_of({"DB_PASSWORD": "bytes\udcff\udcfe"})
    assert redactor.text("it is bytes\udcff\udcfe") == "it is ***"


@pytest.mark.parametrize("letter", ["a", "-", "A", ".", "password", "http", "--", '"', "x="])
def test_a_word_of_a_million_letters_takes_no_time(letter: str) -> None:
    began = time.monotonic()
    redact(letter * (1_000_000 // len(letter)))
    assert time.monotonic() - began < 20, "a second or so; never minutes"
