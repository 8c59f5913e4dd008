"""Take secrets out of text before anything shows or stores it. The one place that does.

By value first, for secrets that are known from an environment and may turn up in any log line; then
by form: a value that follows a key that names a secret (`DB_PASSWORD=...`), a credential in an
address, a key as its provider shapes it. Ordinary words are not secrets: `TOKEN_MODE=required` and
`"secret-tool": executable file not found` stay as they are.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

HIDDEN: Final = "***"

CERTAIN_LENGTH: Final = 6
"""Characters from which on a secret's value is hidden within any text. A shorter one, or a plain
word, is a part of other words too: `ktrdr`, `admin`, `required`."""

_WORDS: Final = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential"
)
_ENDINGS: Final = r"(?:KEY|PWD|PASS|DSN|AUTH|SALT)S?"
_ANY_NAME: Final = rf"(?i)[\w.-]*(?:{_WORDS})[\w-]*|\w+_{_ENDINGS}"
_CERTAIN_NAME: Final = rf"(?i).*(?:{_WORDS}|_pwd|_pass)s?[_-]?\d*"
"""A name that ends with the secret's word, and does not go on as `TOKEN_MODE` does."""

_PLAIN_WORD: Final = r"[A-Za-z]?[a-z]{1,13}|[A-Z]{1,14}"
_SAID_OF_ONE: Final = r"(?i)required|missing|invalid|expired|empty|unset|denied|optional|executable"
"""What messages say of a secret where its value might stand: `DB_PASSWORD: required`."""

# Bounded, and only from a word's beginning: a log may hold a word of a million letters.
_KEY: Final = (
    rf"(?<![\w-])(?:[\w-]{{0,64}}?(?i:{_WORDS})[\w-]{{0,64}}|[A-Z][A-Z0-9_]{{0,64}}_{_ENDINGS}\b)"
)
_QUOTE: Final = r"\\*[\"']"
"""A quote, escaped as often as JSON within JSON does it."""
_VALUE: Final = rf"(?P<open>{_QUOTE})[\s\S]*?(?P=open)|(?:{_QUOTE})?(?P<bare>[^\s,;&\"'}}]+)"
_IN_URL: Final = r"://[^\s:/@]*:(?P<password>[^\s/\"]+)@"
_MORE_WORDS: Final = re.compile(r"[ \t]+[A-Za-z]")


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name may hold something to hide: `..PASSWORD..`, `JWT_KEY`, ..."""
    return re.fullmatch(_ANY_NAME, name) is not None


def _is_secret(name: str, value: str) -> bool:
    """Whether that is a secret's value; a plain word is one only where the name is certain."""
    if not is_secret_name(name):
        return False
    return not re.fullmatch(_PLAIN_WORD, value) or bool(re.fullmatch(_CERTAIN_NAME, name))


def _assignment(found: re.Match[str]) -> str:
    value = found["bare"]
    if value is not None and found["sep"].strip() == ":" and not _follows_colon(found, value):
        return found[0]
    if value is not None and not _is_secret(found["key"], value):
        return found[0]
    return f"{found['name']}{found['sep']}{HIDDEN}"


def _follows_colon(found: re.Match[str], value: str) -> bool:
    """Whether what follows `key:` is a value, and not the beginning of a sentence."""
    if value.startswith("?"):  # ${DB_PASSWORD:?required}
        return False
    if not re.fullmatch(_PLAIN_WORD, value):
        return True
    is_prose = _MORE_WORDS.match(found.string, found.end())
    return not is_prose and not re.fullmatch(_SAID_OF_ONE, value)


def _word_kept(found: re.Match[str]) -> str:
    is_word = re.fullmatch(_PLAIN_WORD, found["value"])
    return found[0] if is_word else found["head"] + HIDDEN


_RULES: Final[tuple[tuple[tuple[str, ...], str, Callable[[re.Match[str]], str]], ...]] = (
    (
        ("-----BEGIN ",),
        r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        lambda m: m[1] + HIDDEN,
    ),
    (  # a line of an environment file: its value goes on to the end, whatever stands in it
        ("=",),
        r"(?m)^(\s*(?:export +|- +)?([A-Z_]\w*)=)(.+)$",
        lambda m: m[1] + HIDDEN if _is_secret(m[2], m[3]) else m[0],
    ),
    (
        ("://",),
        r"(?i)((?<![\w+.-])[a-z][\w+.-]{0,32}://[^\s:/@]*):[^\s/\"]+@",
        lambda m: f"{m[1]}:{HIDDEN}@",
    ),
    (
        ("uthorization", "earer", "UTHORIZATION", "EARER"),
        r"(?P<head>(?i:\bauthorization\b\W{1,6}(?:\w+ +)?|\bbearer +))(?P<value>[\w.~+/=-]{8,})",
        _word_kept,
    ),
    (
        ("--",),
        rf"(?P<head>(?<!-)--[\w-]{{0,64}}?(?i:{_WORDS})[\w-]{{0,64}}\s+)(?P<value>(?!-)\S+)",
        _word_kept,
    ),
    (
        ("=", ":"),
        rf"(?P<name>(?:{_QUOTE})?(?P<key>{_KEY})(?:{_QUOTE})?)(?P<sep>\s*[=:]\s*)(?:{_VALUE})",
        _assignment,
    ),
    (
        ("sk-", "gh", "github_pat_", "glpat-", "xox", "AKIA", "eyJ"),
        (
            r"\b(?:sk-[\w-]{16,}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
            r"|xox[a-z]-[\w-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
        ),
        lambda _: HIDDEN,
    ),
)
"""Patterns with what replaces them; a text that a pattern is found in has one of the signs."""


class Redactor:
    """Hides by form, and every one of `values` in whatever way text writes it.

    `public` are words that are no secret though some secret has that short value.
    """

    def __init__(self, values: Iterable[str] = (), *, public: Iterable[str] = ()) -> None:
        self._known = _any_of(set(values), set(public))

    def text(self, text: str) -> str:
        """The text without any of it."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for signs, pattern, hidden in _RULES:
            if any(sign in text for sign in signs):
                text = re.sub(pattern, hidden, text)
        return text

    def data(self, value: Any) -> Any:
        """The same through nested JSON-ready values; what stands under a secret's name goes whole,
        and so does the value of an entry `NAME=...` of a list."""
        if isinstance(value, str):
            entry = re.fullmatch(r"([A-Za-z_][\w.-]*)=([\s\S]+)", value)
            if entry and _is_secret(entry[1], entry[2]):
                return f"{entry[1]}={HIDDEN}"
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [
                HIDDEN if _follows_option(before, item) else self.data(item)
                for before, item in zip((None, *value), value, strict=False)
            ]
        return value

    def _entry(self, name: str, item: Any) -> Any:
        if isinstance(item, str):
            return HIDDEN if _is_secret(name, item) else self.data(item)
        is_whole = isinstance(item, (dict, list, tuple)) and is_secret_name(name)
        return HIDDEN if is_whole else self.data(item)


def _follows_option(before: object, item: object) -> bool:
    """Whether an argument is the value of the one before it: `--password`, `hunter2`."""
    if not (isinstance(before, str) and isinstance(item, str)) or item.startswith("-"):
        return False
    return re.fullmatch(rf"(?i)--[\w-]*(?:{_WORDS})[\w-]*", before) is not None


def redactor_of(*environments: Mapping[str, str], public: Iterable[str] = ()) -> Redactor:
    """One that knows the value of every variable whose name says secret, and the passwords of all
    addresses in other ones."""
    secret: set[str] = set()
    open_to_all = set(public)
    for environment in environments:
        for name, value in environment.items():
            (secret if _is_secret(name, value) else open_to_all).add(value)
            for found in re.finditer(_IN_URL, value):
                secret |= {found["password"], unquote(found["password"])}
    return Redactor(secret, public=open_to_all)


def _any_of(values: set[str], public: set[str]) -> re.Pattern[str] | None:
    words = {one for one in values if re.fullmatch(_PLAIN_WORD, one)}
    long = {
        form for one in values - words if len(one) >= CERTAIN_LENGTH for form in _spellings(one)
    }
    short = {one for one in values if 2 < len(one) < CERTAIN_LENGTH and _is_telling(one)} - public
    # The longest first, or a secret that begins with another one would show its end.
    parts = [re.escape(form) for form in sorted(long, key=len, reverse=True)]
    short |= {word for word in words if len(word) >= CERTAIN_LENGTH}
    parts += [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(short, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


def _is_telling(word: str) -> bool:
    return not word.isdigit() and word.lower() not in ("true", "false", "none", "null", "auto")


def _spellings(value: str) -> Iterator[str]:
    """A value as the formats around here write it; of several lines, each on its own too."""
    lines = [line for line in value.splitlines() if len(line) >= CERTAIN_LENGTH]
    for text in {value, value.replace("$", "$$"), *lines}:
        yield text
        for ascii_only in (True, False):
            inside = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield inside
            yield json.dumps(inside, ensure_ascii=ascii_only)[1:-1]  # JSON within JSON: labels
        yield repr(text)[1:-1]
        yield quote(text, errors="surrogateescape")
        yield quote(text, safe="", errors="surrogateescape")
        yield quote_plus(text, errors="surrogateescape")
    yield base64.b64encode(value.encode("utf-8", "surrogateescape")).decode().rstrip("=")


_BY_FORM: Final = Redactor()
redact: Final = _BY_FORM.text
redact_all: Final = _BY_FORM.data
