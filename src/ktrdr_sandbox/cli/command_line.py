"""Command lines as shells hand them to completion, and words as bash wants them back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ktrdr_sandbox.commands.candidates import Candidate

_SPECIAL: Final = re.compile(r"([^A-Za-z0-9_./:=@%+,~^-])")
"""What bash would not take as itself."""

_GAP: Final = 2


def split(line: str) -> list[str]:
    """The words of an unfinished line, quotes taken off; the last is "" after a space."""
    words, word, quote = [], "", ""
    characters = iter(line)
    for one in characters:
        if one == "\\" and quote != "'":
            word += next(characters, "")
        elif quote:
            quote, word = ("", word) if one == quote else (quote, word + one)
        elif one in "'\"":
            quote = one
        elif one.isspace():
            words += [word] if word else []
            word = ""
        else:
            word += one
    return [*words, word]


def after_program(words: Sequence[str]) -> list[str] | None:
    """The words after `ktrdr-sandbox`, or after `ktrdr sandbox`; None where it is not ours yet."""
    if len(words) < 2:
        return None
    if words[0].rpartition("/")[2] != "ktrdr":
        return list(words[1:])
    return list(words[2:]) if words[1] == "sandbox" and len(words) > 2 else None


def for_bash(
    found: Sequence[Candidate], unfinished: str, given: str, *, described: bool
) -> list[str]:
    """Candidates as bash inserts them, or as it lists them when there are several.

    bash replaces only `given`, the part of the unfinished word after its last `=` or `:`.
    """
    cut = len(unfinished) - len(given) if unfinished.endswith(given) else 0
    values = [one.value[cut:] for one in found]
    if described and len(found) > 1:
        width = max(map(len, values)) + _GAP
        return [
            f"{value:<{width}}({one.about})" if one.about else value
            for value, one in zip(values, found, strict=True)
        ]
    quoted = given[:1] in ("'", '"')
    return values if quoted else [_SPECIAL.sub(r"\\\1", value) for value in values]
