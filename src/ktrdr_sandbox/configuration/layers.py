"""The sources of settings, each as a layer of flat keys (`gate_timeout`, `hooks.after_create`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from ktrdr_sandbox.configuration.defaults import CHECKOUT_FILE as CHECKOUT_FILE
from ktrdr_sandbox.configuration.defaults import PREFIX as PREFIX
from ktrdr_sandbox.configuration.problems import BadSettingsError, Problem

Kind = Literal["variable", "checkout", "home", "default"]

_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*[\"']?([\w.-]+)[\"']?\s*=")
_PLACE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from. `line` is None where it could not be told cheaply."""

    kind: Kind = "default"
    path: Path | None = None
    line: int | None = None
    variable: str | None = None

    @property
    def place(self) -> str:
        """The file or variable, for people."""
        return self.variable or str(self.path)

    def __str__(self) -> str:
        if self.variable is not None:
            return self.variable
        if self.path is None:
            return "default"
        return str(self.path) if self.line is None else f"{self.path}, line {self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One source: its values, as written, and the place of each."""

    kind: Kind
    values: Mapping[str, Any]
    path: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> Origin:
        """Where the layer has a key from; a key of an inline table has the table's line."""
        line = self.lines.get(key, self.lines.get(key.partition(".")[0]))
        return Origin(kind=self.kind, path=self.path, line=line, variable=self.variables.get(key))

    def without(self, keys: frozenset[str]) -> Layer:
        """The same layer as if it did not set these."""
        return replace(self, values={k: v for k, v in self.values.items() if k not in keys})


def flat(values: Mapping[str, Any], *, tables: frozenset[str]) -> dict[str, Any]:
    """Keys of the settings that are tables become `table.key`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in tables and isinstance(value, dict):
            found |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            found[key] = value
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flat`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        table, dot, inner = key.partition(".")
        if dot:
            found.setdefault(table, {})[inner] = value
        else:
            found[key] = value
    return found


def read_file(path: Path, kind: Kind, *, tables: frozenset[str]) -> Layer | None:
    """A settings file, None when there is none. Raises BadSettingsError when it cannot be read.

    Only a regular file is opened: a link that a branch brings along may point at a device that
    never ends.
    """
    try:
        if not path.is_symlink() and not path.exists():
            return None
        if not path.is_file():
            raise _unreadable(path, kind, "it is not a regular file")
        text = path.read_bytes().decode("utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise _unreadable(path, kind, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, kind, f"byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(path, kind, str(error)) from error
    except RecursionError as error:
        raise _unreadable(path, kind, "it is nested too deeply") from error
    return Layer(
        kind=kind,
        values=flat(values, tables=tables),
        path=path,
        lines=dict(reversed(list(_lines(text)))),
    )


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Keys and the lines that begin with them. A line within a long string may look like one."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _TABLE.match(line):
            table = f"{head[1]}."
        elif key := _KEY.match(line):
            yield table + key[1], number


def _unreadable(path: Path, kind: Kind, reason: str) -> BadSettingsError:
    origin = Origin(kind=kind, path=path)
    return BadSettingsError([Problem(text=f"cannot read it: {reason}", origin=origin)])


def _no_toml(path: Path, kind: Kind, message: str) -> BadSettingsError:
    place = _PLACE.search(message)
    reason = _PLACE.sub("", message).strip()
    line, column = (int(place[1]), int(place[2])) if place else (None, None)
    text = f"no valid TOML: {reason}" + (f" (column {column})" if column else "")
    problem = Problem(text=text, origin=Origin(kind=kind, path=path, line=line), column=column)
    return BadSettingsError([problem])
