"""Takes secrets out of text before anything shows or stores it. The one place that does.

Two ways, used together: by form (`DB_PASSWORD=...`, `Bearer ...`, `postgres://user:...@host`, keys
as providers shape them), which needs no knowledge; and by value, for secrets that are known from an
environment and may turn up in any log line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

HIDDEN: Final = "***"

CERTAIN_LENGTH: Final = 6
"""Characters from which on a secret's value is hidden within any text. A shorter one is a word of
other texts too: `ktrdr`, `admin`, `true`."""


class _Form:
    """A pattern that is compiled for the first text it may be found in, which few programs see.

    Any text it is found in has one of the `signs`.
    """

    def __init__(self, pattern: str, flags: int = 0, *, signs: tuple[str, ...] = ("",)) -> None:
        self._text, self._flags, self._signs = pattern, flags, signs

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self._text, self._flags)

    def replaced(self, text: str, by: Callable[[re.Match[str]], str]) -> str:
        """The text with what `by` says for each place where the pattern is found."""
        if not any(sign in text for sign in self._signs):
            return text
        return self.pattern.sub(by, text)

    def whole(self, text: str) -> re.Match[str] | None:
        """The match of the whole text."""
        return self.pattern.fullmatch(text)


_WORDS: Final = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credential"
)
_ENDINGS: Final = r"(?:KEY|PWD|PASS|DSN|AUTH|SALT)S?"
# Bounded, and only from a word's beginning: a log may hold a word of a million letters.
_NAME_OF_ONE: Final = (
    rf"(?<![\w.-])(?:[\w.-]{{0,64}}?(?:{_WORDS})[\w.-]{{0,64}}"
    rf"|(?-i:[A-Z][A-Z0-9_]{{0,64}}_{_ENDINGS}\b))"
)
_VARIABLE: Final = _Form(rf"[\w.-]*(?:{_WORDS})[\w.-]*|\w+_{_ENDINGS}", re.IGNORECASE)
_QUOTE: Final = r"\\*[\"']"
"""A quote, escaped as often as JSON within JSON does it."""
_ASSIGNMENT: Final = _Form(
    rf"(?P<name>(?:{_QUOTE})?{_NAME_OF_ONE}(?:{_QUOTE})?)(?P<sep>\s*[=:]\s*)"
    rf"(?:(?P<open>{_QUOTE})[\s\S]*?(?P=open)|(?:{_QUOTE})?[^\s,;&\"'}}]+)",
    re.IGNORECASE,
    signs=("=", ":"),
)
_WHOLE_LINE: Final = _Form(
    r"^(?P<head>\s*(?:export +|- +)?(?P<name>[A-Z_]\w*)=).+$", re.M, signs=("=",)
)
"""A line of an environment file: its value goes on to the end, whatever stands in it."""
_OPTION: Final = _Form(
    rf"(?P<name>(?<!-)--[\w-]{{0,64}}?(?:{_WORDS})[\w-]{{0,64}}\s+)(?!-)\S+",
    re.IGNORECASE,
    signs=("--",),
)
_BARE_OPTION: Final = _Form(rf"--[\w-]*(?:{_WORDS})[\w-]*", re.IGNORECASE)
_AUTHORIZATION: Final = _Form(
    r"(?P<scheme>\bauthorization\b\W{1,6}(?:\w+ +)?|\bbearer +)[\w.~+/=-]{8,}", re.IGNORECASE
)
_URL: Final = _Form(
    r"(?P<scheme>(?<![\w+.-])[a-z][\w+.-]{0,32}://[^\s:/@]*):[^\s/\"]+@", re.I, signs=("://",)
)
_PASSWORD_OF_URL: Final = _Form(r"://[^\s:/@]*:(?P<password>[^\s/\"]+)@")
_SHAPES: Final = _Form(
    r"\b(?:sk-[\w-]{16,}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)",
    signs=("sk-", "gh", "github_pat_", "glpat-", "xox", "AKIA", "eyJ"),
)
_PEM: Final = _Form(
    r"(?P<begin>-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    signs=("-----BEGIN ",),
)
_ENTRY: Final = _Form(r"(?P<name>[A-Za-z_][\w.-]*)=[\s\S]+")


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name holds something to hide: `..PASSWORD..`, `JWT_KEY`, ..."""
    return _VARIABLE.whole(name) is not None


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
        text = _PEM.replaced(text, lambda m: m["begin"] + HIDDEN)
        text = _WHOLE_LINE.replaced(
            text, lambda m: m["head"] + HIDDEN if is_secret_name(m["name"]) else m[0]
        )
        text = _URL.replaced(text, lambda m: f"{m['scheme']}:{HIDDEN}@")
        text = _AUTHORIZATION.replaced(text, lambda m: m["scheme"] + HIDDEN)
        text = _OPTION.replaced(text, lambda m: m["name"] + HIDDEN)
        text = _ASSIGNMENT.replaced(text, lambda m: f"{m['name']}{m['sep']}{HIDDEN}")
        return _SHAPES.replaced(text, lambda _: HIDDEN)

    def data(self, value: Any) -> Any:
        """The same through nested JSON-ready values; what stands under a secret's name goes whole,
        and so does the value of an entry `NAME=...` of a list."""
        if isinstance(value, str):
            entry = _ENTRY.whole(value)
            if entry and is_secret_name(entry["name"]):
                return f"{entry['name']}={HIDDEN}"
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.data(key): HIDDEN
                if is_secret_name(str(key)) and isinstance(item, (str, dict, list, tuple))
                else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [
                HIDDEN if _follows_option(before, item) else self.data(item)
                for before, item in zip((None, *value), value, strict=False)
            ]
        return value


def _follows_option(before: object, item: object) -> bool:
    """Whether an argument is the value of the one before it: `--password`, `hunter2`."""
    if not (isinstance(before, str) and isinstance(item, str)) or item.startswith("-"):
        return False
    return _BARE_OPTION.whole(before) is not None


def redactor_of(*environments: Mapping[str, str], public: Iterable[str] = ()) -> Redactor:
    """One that knows the value of every variable whose name says secret, and the passwords of all
    addresses in other ones."""
    from urllib.parse import unquote

    secret: set[str] = set()
    open_to_all = set(public)
    for environment in environments:
        for name, value in environment.items():
            (secret if is_secret_name(name) else open_to_all).add(value)
            for found in _PASSWORD_OF_URL.pattern.finditer(value):
                secret |= {found["password"], unquote(found["password"])}
    return Redactor(secret, public=open_to_all)


def redact(text: str) -> str:
    """Hide what has the form of a secret."""
    return _BY_FORM.text(text)


def redact_all(value: Any) -> Any:
    """The same through nested JSON-ready values."""
    return _BY_FORM.data(value)


def _any_of(values: set[str], public: set[str]) -> re.Pattern[str] | None:
    long = {form for one in values if len(one) >= CERTAIN_LENGTH for form in _forms(one)}
    short = {one for one in values if 2 < len(one) < CERTAIN_LENGTH and _is_telling(one)} - public
    # The longest first, or a secret that begins with another one would show its end.
    parts = [re.escape(form) for form in sorted(long, key=len, reverse=True)]
    parts += [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(short, key=len, reverse=True)]
    return re.compile("|".join(parts)) if parts else None


def _is_telling(word: str) -> bool:
    return not word.isdigit() and word.lower() not in ("true", "false", "none", "null", "auto")


def _forms(value: str) -> Iterator[str]:
    """A value as the formats around here write it; of several lines, each on its own too."""
    import base64  # only where secrets are known
    import json
    from urllib.parse import quote, quote_plus

    for text in {value, value.replace("$", "$$"), *_long_lines(value)}:
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


def _long_lines(value: str) -> Iterator[str]:
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= CERTAIN_LENGTH)


_BY_FORM: Final = Redactor()
