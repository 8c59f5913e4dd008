"""What init-shared put into the shared folder, and from where: tells our changes from the user's.

A file is ours while it has a size and time recorded for its path. It gets a further record before
it is replaced, so that what a killed run placed is known too, and only the last one afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.files import cannot_write, make_folder, temporary_name

_SCHEMA: Final = "ktrdr-sandbox/shared-manifest/2"
SEED_KIND: Final = "seed"

Record = list[Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files came from. `identity` tells addresses apart that differ in their secrets."""

    kind: str
    name: str
    identity: str = ""


@dataclass(slots=True)
class Manifest:
    """Records by path: [size, mtime_ns, origin] for files, [target, origin] for links."""

    path: Path
    records: dict[str, list[Record]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, tell: Callable[[str], None]) -> Manifest:
        """Read it; a damaged one is reported and begun anew. Raises `cannot-write`."""
        try:
            content = json.loads(path.read_bytes())
            if content.pop("schema") != _SCHEMA:
                raise ValueError
            origins = {number: Origin(**facts) for number, facts in content.pop("origins").items()}
            return cls(path, origins=origins, **content)
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            raise cannot_write(path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError):
            tell(f"{path} is damaged and is made anew; files that differ are kept.")
            return cls(path)

    def number_of(self, origin: Origin) -> str:
        """Return the number of an origin in records, adding it when it is new."""
        for number, known in self.origins.items():
            if known == origin:
                return number
        number = str(len(self.origins) + 1)
        self.origins[number] = origin
        return number

    def write(self) -> None:
        """Replace the file. Without fsync: that would wait for every file just copied."""
        make_folder(self.path.parent)
        origins = {number: asdict(origin) for number, origin in self.origins.items()}
        content = {"schema": _SCHEMA, "records": self.records, "origins": origins}
        draft = temporary_name(self.path)
        try:
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(content), encoding="ascii")
            draft.replace(self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise cannot_write(self.path, error) from error
