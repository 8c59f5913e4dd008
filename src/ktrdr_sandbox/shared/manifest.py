"""What init-shared put into the shared folder, and from where: tells our changes from the user's.

One file of NUL-separated fields, name and value in turn, because names hold anything but NUL. It is
written before files are placed, with claims of what they will be, and again after that: so a file
that a killed run placed is known to be ours. Without the manifest nothing is lost: a file with the
size and time of its source counts as copied, and any other that differs is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.files import cannot_write, make_folder

_HEADER: Final = ("", "ktrdr-sandbox shared-manifest 1")
_ORIGIN: Final = "="
"""First sign of an origin's name; paths begin with the name of a shared folder."""
_CLAIM: Final = "+"
"""First sign of a claim's name, before the path."""
SEED_KIND: Final = "seed"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files came from. `facts` are what a repeat needs: a pack's validator, for example."""

    kind: str
    name: str
    facts: Mapping[str, Any]

    @property
    def place(self) -> tuple[str, str, Any]:
        """Equal for the same place; addresses may differ in what their names do not show."""
        return self.kind, self.name, self.facts.get("identity")


class Manifest:
    """Records by path: `<size>:<mtime_ns>:<origin>` for files, `>target:<origin>` for links.

    `claims` are records of what killed runs were about to place. Raises `cannot-write`.
    """

    def __init__(self, path: Path, *, tell: Callable[[str], None]) -> None:
        self._path = path
        self.records: dict[str, str] = {}
        self.claims: dict[str, str] = {}
        self.origins: dict[str, Origin] = {}
        try:
            fields = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
        except FileNotFoundError:
            return
        except OSError as error:
            raise cannot_write(path, error) from error
        end = (len(fields) - 1) // 2 * 2  # what stands after the last NUL is torn, or ""
        found = dict(zip(fields[0:end:2], fields[1:end:2], strict=True))
        if found.pop(_HEADER[0], "") != _HEADER[1]:
            tell(f"{path} is damaged and is made anew; files that differ are kept.")
            return
        for name, value in found.items():
            if name.startswith(_ORIGIN):
                # One that cannot be read leaves its files as those of an unknown other source.
                with contextlib.suppress(ValueError, TypeError):
                    self.origins[name[1:]] = Origin(**json.loads(value))
            elif name.startswith(_CLAIM):
                self.claims[name[1:]] = value
            else:
                self.records[name] = value

    def number_of(self, origin: Origin) -> str:
        """Return the short name of an origin in records; a new one where it is not yet known."""
        for number, known in self.origins.items():
            if known.place == origin.place:
                return number
        # A number of records whose origin is lost must not become another origin's.
        used = {*self.origins, *(record.rpartition(":")[2] for record in self.records.values())}
        return str(max((int(number) for number in used if number.isdecimal()), default=0) + 1)

    def write(self) -> None:
        """Replace the file. Without fsync: that would wait for every file just copied."""
        make_folder(self._path.parent)
        # JSON in ASCII: names that are no text come back as they were.
        origins = {_ORIGIN + n: json.dumps(asdict(one)) for n, one in self.origins.items()}
        claims = {_CLAIM + path: record for path, record in self.claims.items()}
        fields = [_HEADER, *origins.items(), *self.records.items(), *claims.items()]
        text = "".join(f"{name}\0{value}\0" for name, value in fields)
        draft = None
        try:
            handle, draft = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode("utf-8", "surrogateescape"))
            Path(draft).replace(self._path)
        except OSError as error:
            if draft is not None:
                Path(draft).unlink(missing_ok=True)
            raise cannot_write(self._path, error) from error
