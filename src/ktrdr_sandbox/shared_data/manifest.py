"""What this program put into the shared folder, and from where: tells our changes from the user's.

One file of NUL-separated fields, name and value in turn, because names hold anything but NUL and
because 20,000 of them are split faster than any structured format is parsed. A run first appends
claims, what the files that it is about to place will be, and at its end writes the whole file anew
with what it placed. After a kill a file that is as claimed is known to be ours, whatever becomes of
the source meanwhile. Without the manifest nothing is lost: a file with the size and time of its
source counts as copied, and any other that differs is kept, as if the user had changed it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from ktrdr_sandbox.files import cannot_write, make_folder
from ktrdr_sandbox.shared_data.ahead import Identity, identity_of

_HEADER: Final = ("", "ktrdr-sandbox shared-manifest 1")
_ORIGIN: Final = "="
"""First sign of an origin's name; paths begin with the name of a shared folder."""
_CLAIM: Final = "+"
"""First sign of a claim's name, before the path."""
_PART: Final = 4096
"""Fields that are written at once."""

SEED_KIND: Final = "seed"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files came from. `facts` are what a repeat needs: a pack's validator, for example."""

    kind: str
    name: str
    facts: Mapping[str, Any]

    @property
    def same_as(self) -> tuple[str, str, Any]:
        """Equal for the same place; an address may differ in what its name does not show."""
        return (self.kind, self.name, self.facts.get("identity"))


class Manifest:
    """Records by path: `<size>:<mtime_ns>:<origin>` for files, `>target:<origin>` for links.

    `claims` are records of what a run was about to place that did not come to its end.
    """

    def __init__(self, path: Path, *, tell: Callable[[str], None]) -> None:
        self.path = path
        self.records: dict[str, str] = {}
        self.claims: dict[str, str] = {}
        self.origins: dict[str, Origin] = {}
        self.identity: Identity = None
        """The state in which it was found."""
        self._torn = False
        self._load(tell)

    @property
    def is_settled(self) -> bool:
        """Whether every run that it knows of has come to its end."""
        return not self._torn and not self.claims

    def is_current(self) -> bool:
        """Whether no run has begun to place anything since it was read."""
        try:
            return self.identity == identity_of(self.path.stat())
        except OSError:
            return self.identity is None

    def _load(self, tell: Callable[[str], None]) -> None:
        try:
            with self.path.open("rb") as stream:
                self.identity = identity_of(os.fstat(stream.fileno()))
                text = stream.read().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            self._torn = True
            return
        except OSError as error:
            raise cannot_write(self.path, error) from error
        fields = text.split("\0")
        whole = (len(fields) - 1) // 2 * 2  # what stands after the last NUL is torn, or ""
        self._torn = len(fields) - whole != 1 or fields[-1] != ""
        names, values = fields[0:whole:2], fields[1:whole:2]
        found = dict(zip(names, values, strict=True))
        if found.pop(_HEADER[0], "") != _HEADER[1]:
            self._torn = True
            tell(f"{self.path} is damaged and is made anew; files that differ are kept.")
            return
        for name in _names(text, _ORIGIN):
            if name in found:
                self._add_origin(name, found.pop(name))
        for name in _names(text, _CLAIM):
            if name in found:
                self.claims[name[len(_CLAIM) :]] = found.pop(name)
        self.records = found

    def _add_origin(self, name: str, value: str) -> None:
        # An origin that cannot be read leaves its files as those of an unknown other source.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            body = json.loads(value)
            self.origins[name[len(_ORIGIN) :]] = Origin(body["kind"], body["name"], body["facts"])

    def number_of(self, origin: Origin) -> str:
        """The short name of an origin in records; a new one where it is not yet known."""
        for number, known in self.origins.items():
            if known.same_as == origin.same_as:
                return number
        # A number of records whose origin is lost must not become another origin's.
        used = {*self.origins, *(record.rpartition(":")[2] for record in self.records.values())}
        return str(max((int(number) for number in used if number.isdecimal()), default=0) + 1)

    def claim(
        self,
        coming: Iterable[tuple[str, str]],
        *,
        found: Iterable[tuple[str, str]],
        number: str,
        origin: Origin,
    ) -> None:
        """Write down what is about to be placed, and what turned out to be ours already.

        These claims are in the file alone: this run knows what it does. Raises `cannot-write`.
        """
        records = dict(found)
        self.origins[number] = origin
        self.records.update(records)
        if self._torn:
            self.compact(coming)
            return
        origins = {number: origin}
        try:
            with self.path.open("ab") as stream:
                _write(stream, _fields(origins=origins, records=records, claims=coming))
        except OSError as error:
            self._torn = True
            raise cannot_write(self.path, error) from error

    def settle(self, placed: Iterable[tuple[str, str]], *, claimed: Iterable[str]) -> None:
        """Write down what was placed, of what was claimed or was found to be there.

        Raises `cannot-write`.
        """
        self.note(placed)
        if self.claims:  # of earlier runs
            for path in claimed:
                self.claims.pop(path, None)
        self.compact()

    def note(self, placed: Iterable[tuple[str, str]]) -> None:
        """Remember what was placed; `settle` writes it down, in place of its claim."""
        records = dict(placed)
        self.records.update(records)
        if self.claims:  # of earlier runs
            for path in records:
                self.claims.pop(path, None)

    def compact(self, coming: Iterable[tuple[str, str]] = ()) -> None:
        """Write the whole file, by replacing it, with claims to come. Raises `cannot-write`.

        Without fsync: on a journalling file system that would wait for every file just copied.
        What a power cut takes from this file is found out again from sizes and times.
        """
        claims = chain(self.claims.items(), coming)
        fields = _fields(origins=self.origins, records=self.records, claims=claims)
        import tempfile  # not for a run with nothing to do

        make_folder(self.path.parent)
        temporary = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as stream:
                _write(stream, chain((_HEADER,), fields))
            temporary.replace(self.path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            raise cannot_write(self.path, error) from error
        self._torn = False


def _names(text: str, sign: str) -> Iterator[str]:
    """Names with a sign before them, which no value has: sought in the text, for they are few."""
    end = text.find(f"\0{sign}")
    while end >= 0:
        begin = end + 1
        end = text.find("\0", begin)
        yield text[begin:end]
        end = text.find(f"\0{sign}", end) if end >= 0 else end


def _origin_text(origin: Origin) -> str:
    body = {"kind": origin.kind, "name": origin.name, "facts": dict(origin.facts)}
    return json.dumps(body)  # pure ASCII: names that are no text come back as they were


def _fields(
    *,
    origins: Mapping[str, Origin],
    records: Mapping[str, str],
    claims: Iterable[tuple[str, str]],
) -> Iterator[tuple[str, str]]:
    yield from ((_ORIGIN + number, _origin_text(one)) for number, one in origins.items())
    yield from records.items()
    yield from ((_CLAIM + path, record) for path, record in claims)


def _write(stream: BinaryIO, fields: Iterator[tuple[str, str]]) -> None:
    """A part at a time: the whole text of a hundred thousand files is tens of megabytes."""
    while part := "".join(f"{name}\0{value}\0" for name, value in islice(fields, _PART)):
        stream.write(part.encode("utf-8", "surrogateescape"))
