"""What init-shared put into the shared folder, and from where: tells our changes from the user's.

It is written before files are placed, with claims of what they will be, and again after that: so a
file that a killed run placed is known to be ours. Without the manifest nothing is lost: a file with
the size and time of its source counts as copied, and any other that differs is kept.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.files import cannot_write, make_folder

_SCHEMA: Final = "ktrdr-sandbox/shared-manifest/1"
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


@dataclass(slots=True)
class Manifest:
    """Records by path: `<size>:<mtime_ns>:<origin>` for files, `>target:<origin>` for links.

    `claims` are records of what killed runs were about to place; `origins` go by their number.
    """

    path: Path
    records: dict[str, str] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, tell: Callable[[str], None]) -> Manifest:
        """Read it; one that is damaged is told and begun anew. Raises `cannot-write`."""
        try:
            found = json.loads(path.read_bytes())
            if found.pop("schema") != _SCHEMA:
                raise ValueError
            origins = {number: Origin(**one) for number, one in found.pop("origins").items()}
            return cls(path, origins=origins, **found)
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError):
            tell(f"{path} is damaged and is made anew; files that differ are kept.")
            return cls(path)

    def number_of(self, origin: Origin) -> str:
        """Return the short name of an origin in records; a new one where it is not yet known."""
        for number, known in self.origins.items():
            if known.place == origin.place:
                return number
        return str(len(self.origins) + 1)

    def write(self) -> None:
        """Replace the file. Without fsync: that would wait for every file just copied."""
        make_folder(self.path.parent)
        content = {"schema": _SCHEMA, "records": self.records, "claims": self.claims}
        content |= {"origins": {number: asdict(one) for number, one in self.origins.items()}}
        try:
            handle, draft = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w", encoding="ascii") as stream:
                    stream.write(json.dumps(content))
                Path(draft).replace(self.path)
            finally:
                Path(draft).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
