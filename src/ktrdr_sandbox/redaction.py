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

# Characters from which on a secret's value is hidden within any text. A shorter one, or a plain
# word, is a part of other words too: `ktrdr`, `admin`, `required`.
CERTAIN_LENGTH: Final = 6

# Patterns are bounded, and begin at a word's beginning: a log may hold a word of a million letters.
_WORDS: Final = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential"
)
_ENDINGS: Final = r"(?:KEY|PWD|PASS|DSN|AUTH|SALT)S?"
_ANY_NAME: Final = rf"(?i)[\w.-]*(?:{_WORDS})[\w-]*|\w+_{_ENDINGS}"
# A name that ends with the secret's word, and does not go on as `TOKEN_MODE` does.
_CERTAIN_NAME: Final = rf"(?i).*(?:{_WORDS}|_pwd|_pass)s?[_-]?\d*"
_PLAIN_WORD: Final = r"[A-Za-z]?[a-z]{1,13}|[A-Z]{1,14}"
# What messages say of a secret where its value might stand: `DB_PASSWORD: required`.
_SAID_OF_ONE: Final = r"(?i)required|missing|invalid|expired|empty|unset|denied|optional|executable"
_KEY: Final = rf"[\w-]{{0,64}}?(?i:{_WORDS})[\w-]{{0,64}}|[A-Z][A-Z0-9_]{{0,64}}_{_ENDINGS}\b"
_QUOTE: Final = r"\\*[\"']"  # escaped as often as JSON within JSON does it
_ASSIGNMENT: Final = (
    rf"(?P<head>(?:{_QUOTE})?(?<![\w-])(?P<key>{_KEY})(?:{_QUOTE})?\s*(?P<sep>[=:])\s*)"
    rf"(?:(?P<open>{_QUOTE})[\s\S]*?(?P=open)|(?:{_QUOTE})?(?P<value>[^\s,;&\"'}}]+))"
)
# A line of an environment file: its value goes on to the end, whatever stands in it.
_WHOLE_LINE: Final = r"(?m)^(?P<head>\s*(?:export +|- +)?(?P<key>[A-Z_]\w*)=)(?P<value>.+)$"
_OPTION: Final = (
    rf"(?P<head>(?<!-)--[\w-]{{0,64}}?(?i:{_WORDS})[\w-]{{0,64}}\s+)(?P<value>(?!-)\S+)"
)
_BEARER: Final = (
    r"(?P<head>(?i:\bauthorization\b\W{1,6}(?:\w+ +)?|\bbearer +))(?P<value>[\w.~+/=-]{8,})"
)
_IN_URL: Final = r"((?<![\w+.-])[A-Za-z][\w+.-]{0,32}://[^\s:/@]*):([^\s/\"]+)@"
_PEM: Final = r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
_SHAPES: Final = (
    r"\b(?:sk-[\w-]{16,}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name may hold something to hide: `..PASSWORD..`, `JWT_KEY`, ..."""
    return re.fullmatch(_ANY_NAME, name) is not None


def _is_secret(name: str, value: str) -> bool:
    """Whether that is a secret's value; a plain word is one only where the name is certain."""
    if not is_secret_name(name):
        return False
    return not _is_word(value) or re.fullmatch(_CERTAIN_NAME, name) is not None


def _is_word(text: str) -> bool:
    return re.fullmatch(_PLAIN_WORD, text) is not None


def _assigned(found: re.Match[str]) -> str:
    value = found["value"]
    is_hidden = value is None or _is_secret(found["key"], value)  # in quotes, or as it is
    if is_hidden and value is not None and found["sep"] == ":":
        is_prose = _is_word(value) and re.match(r"[ \t]+[A-Za-z]", found.string[found.end() :][:40])
        is_message = value.startswith("?") or re.fullmatch(_SAID_OF_ONE, value)  # ${NAME:?required}
        is_hidden = not is_prose and not is_message
    return found["head"] + HIDDEN if is_hidden else found[0]


def _line(found: re.Match[str]) -> str:
    return found["head"] + HIDDEN if _is_secret(found["key"], found["value"]) else found[0]


def _unless_word(found: re.Match[str]) -> str:
    return found[0] if _is_word(found["value"]) else found["head"] + HIDDEN


# Patterns with what replaces them, compiled only for a text that has one of the signs.
_RULES: Final[tuple[tuple[tuple[str, ...], str, str | Callable[[re.Match[str]], str]], ...]] = (
    (("-----BEGIN ",), _PEM, rf"\1{HIDDEN}"),
    (("=",), _WHOLE_LINE, _line),
    (("://",), _IN_URL, rf"\1:{HIDDEN}@"),
    (("uthorization", "earer", "AUTHORIZATION", "BEARER"), _BEARER, _unless_word),
    (("--",), _OPTION, _unless_word),
    (("=", ":"), _ASSIGNMENT, _assigned),
    (("sk-", "gh", "glpat-", "xox", "AKIA", "eyJ"), _SHAPES, HIDDEN),
)


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
            name, equals, rest = value.partition("=")
            is_entry = equals and re.fullmatch(r"[A-Za-z_][\w.-]*", name) and _is_secret(name, rest)
            return f"{name}={HIDDEN}" if is_entry else self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [
                HIDDEN if _follows_option(before, item) else self.data(item)
                for before, item in zip(("", *value), value, strict=False)
            ]
        return value

    def _entry(self, name: str, item: Any) -> Any:
        is_whole = isinstance(item, (dict, list, tuple)) and is_secret_name(name)
        is_secret = isinstance(item, str) and _is_secret(name, item)
        return HIDDEN if is_whole or is_secret else self.data(item)


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
            for _, password in re.findall(_IN_URL, value):
                secret |= {password, unquote(password)}
    return Redactor(secret, public=open_to_all)


def _any_of(values: set[str], public: set[str]) -> re.Pattern[str] | None:
    common = {"true", "false", "none", "null", "auto"}
    whole = {one for one in values if 2 < len(one) < CERTAIN_LENGTH and not one.isdigit()}
    whole = {one for one in whole if one.lower() not in common} - public
    long = {one for one in values if len(one) >= CERTAIN_LENGTH}
    whole |= {one for one in long if _is_word(one)}
    forms = {form for one in long - whole for form in _spellings(one)}
    # The longest first, or a secret that begins with another one would show its end.
    parts = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
    parts += [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(whole, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


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
