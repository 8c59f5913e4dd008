"""Answers a press of TAB: from the words of a command line to the candidates, one a line.

Run instead of the program while a shell sets `_KTRDR_SANDBOX_COMPLETE` to its own name. It must be
quick, so Typer is not loaded: what can be typed comes from `grammar.json`. It must be silent and
change nothing: where anything is wrong there are no candidates.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.cli import command_line
from ktrdr_sandbox.commands import candidates
from ktrdr_sandbox.commands.candidates import Candidate, Surroundings
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home

VARIABLE: Final = "_KTRDR_SANDBOX_COMPLETE"
FILES: Final = ":files"
"""Printed alone where the shell is to offer paths. No candidate begins with a colon."""

_LISTING: Final = frozenset({"!", "?", "@", "33", "63", "64"})
"""COMP_TYPE of bash while it lists what fits and inserts at most what all have in common."""


def complete(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The lines to print. `arguments` are the program's own, `environment` all variables.

    zsh and fish give the words, the program's first and the unfinished one last; bash what it
    gives to any program of `complete -C`.
    """
    shell = environment.get(VARIABLE, "")
    if shell == "bash":
        line = environment.get("COMP_LINE", "")
        words = command_line.split(line[: _number(environment.get("COMP_POINT"), len(line))])
    else:
        words = list(arguments)
    typed = command_line.after_program(words)
    if typed is None:
        return []
    described = shell != "bash" or environment.get("COMP_TYPE", "") in _LISTING
    found = _candidates(typed, described=described, environment=environment)
    if found is None:
        return [FILES]
    if shell == "bash":
        given = arguments[1] if len(arguments) > 1 else ""
        return command_line.for_bash(found, words[-1], given, described=described)
    return [f"{one.value}\t{one.about}" if one.about else one.value for one in found]


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


def _candidates(
    typed: Sequence[str], *, described: bool, environment: Mapping[str, str]
) -> list[Candidate] | None:
    """What fits, in order; None for paths."""
    text = Path(__file__).with_name("grammar.json").read_text(encoding="utf-8")
    try:
        cwd = Path.cwd()
    except OSError:
        cwd = Path(os.sep)
    try:
        home = Home.from_environment()
    except SandboxError:  # any command tells why
        return []
    around = Surroundings(home=home, cwd=cwd, environment=environment, described=described)
    line = _Line(json.loads(text), around, typed[-1])
    for word in typed[:-1]:
        line.read(word)
    found = line.offered()
    if found is None:
        return None
    return [one for one in found if one.value.startswith(typed[-1])]


@dataclass
class _Line:
    """What the words so far mean, and what may come next."""

    grammar: Mapping[str, Any]
    around: Surroundings
    unfinished: str
    command: Mapping[str, Any] | None = None
    given: dict[str, str] = field(default_factory=dict)
    """Options so far, by each of their names."""
    positional: list[str] = field(default_factory=list)
    waiting: Mapping[str, Any] | None = None
    """The option whose value comes next."""
    only_words: bool = False
    """After `--`, or in another program's command line."""

    def read(self, word: str) -> None:
        """Take in one finished word."""
        if self.waiting is not None:
            self._note(self.waiting, word)
            self.waiting = None
        elif word == "--" and not self.only_words:
            self.only_words = True
        elif word.startswith("-") and not self.only_words:
            self._read_option(word)
        elif (commands := self._commands()) is not None:
            self.command = commands.get(word, {"options": [], "arguments": []})
        else:
            taken = self._argument()
            self.only_words |= taken is not None and taken["kind"] == "command"
            self.positional.append(word)

    def _read_option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self._option(name)
        if option is None:
            return
        self._note(option, value)
        if "kind" in option and not equals:
            self.waiting = option

    def _note(self, option: Mapping[str, Any], value: str) -> None:
        self.given.update(dict.fromkeys(option["names"], value))

    def _commands(self) -> Mapping[str, Any] | None:
        """What the next word may be while a command is still to come: the program's, a group's."""
        found: Mapping[str, Any] | None = (self.command or self.grammar).get("commands")
        return found

    def _options(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = (self.command or self.grammar)["options"]
        return found

    def _option(self, name: str) -> Mapping[str, Any] | None:
        return next((one for one in self._options() if name in one["names"]), None)

    def _argument(self) -> Mapping[str, Any] | None:
        """The argument that the next word is."""
        expected = self.command["arguments"] if self.command else []
        if len(self.positional) < len(expected):
            found: Mapping[str, Any] = expected[len(self.positional)]
            return found
        return expected[-1] if expected and expected[-1].get("many") else None

    def offered(self) -> list[Candidate] | None:
        """What the unfinished word may become, unfiltered; None for paths."""
        if self.waiting is not None:
            return self._values(self.waiting, self.unfinished)
        if self.unfinished.startswith("-") and not self.only_words:
            return self._offered_options()
        if (commands := self._commands()) is not None:
            return [Candidate(name, one["help"]) for name, one in commands.items()]
        argument = self._argument()
        if argument is not None:
            return self._values(argument, self.unfinished)
        return [] if self.only_words else self._offered_options()

    def _offered_options(self) -> list[Candidate] | None:
        name, equals, begun = self.unfinished.partition("=")
        option = self._option(name) if equals else None
        if option is not None and "kind" in option:
            values = self._values(option, begun)
            if values is None:
                return None
            return [Candidate(f"{name}={one.value}", one.about) for one in values]
        return [
            Candidate(name, option["help"])
            for option in self._options()
            if option.get("many") or self.given.keys().isdisjoint(option["names"])
            for name in option["names"]
            if name.startswith("--") or self.unfinished.startswith(name)
        ]

    def _values(self, taken: Mapping[str, Any], begun: str) -> list[Candidate] | None:
        kind = taken["kind"]
        if kind in ("path", "command"):
            return None
        if kind == "word":
            return [Candidate(one) for one in taken["values"]]
        if kind == "list":
            return _list_values(taken["values"], begun)
        if kind == "instance":
            return candidates.instances(self.around, begun)
        if kind == "service":
            name = self.given.get("--instance")
            found = candidates.services(self.around, name)
            return [one for one in found if one.value not in self.positional]
        if kind == "slot":
            return candidates.free_slots(self.around, *self.grammar["slots"])
        return candidates.branches(self.around) if kind == "branch" else []


def _list_values(values: Sequence[str], begun: str) -> list[Candidate]:
    """Values after the last comma, without those before it."""
    before, comma, _ = begun.rpartition(",")
    taken = before.split(",")
    return [Candidate(f"{before}{comma}{one}") for one in values if one not in taken]
