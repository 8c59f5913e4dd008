"""Who uses the engine, and whether the lab started it: one small file, used under a lock.

A hold with a holder ends with that process, released or not. A hold without one (a demo that a
person looks at) ends when it is released, or when the clone it belongs to is gone.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.lab import files
from tests.lab.errors import LabError
from tests.lab.processes import Process

VERSION = 1


@dataclass(frozen=True)
class Hold:
    purpose: str
    clone: str
    holder: Process | None = None

    def stands(self) -> bool:
        return self.holder.runs() if self.holder else Path(self.clone).is_dir()

    def __str__(self) -> str:
        by = f", process {self.holder.pid}" if self.holder else ""
        return f"{self.purpose} of {self.clone}{by}"


@dataclass(frozen=True)
class State:
    engine: Process | None = None  # the engine that the lab started
    holds: tuple[Hold, ...] = ()

    def current(self) -> "State":
        """Without what ended by itself since this was written."""
        engine = self.engine if self.engine and self.engine.runs() else None
        return State(engine=engine, holds=tuple(hold for hold in self.holds if hold.stands()))

    def with_hold(self, hold: Hold) -> "State":
        return self if hold in self.holds else replace(self, holds=(*self.holds, hold))

    def without_hold(self, hold: Hold) -> "State":
        return replace(self, holds=tuple(other for other in self.holds if other != hold))

    def with_engine(self, engine: Process | None) -> "State":
        return replace(self, engine=engine)

    def is_unused(self) -> bool:
        return not self.holds


def load(path: Path) -> State:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return State()
    except ValueError as error:
        raise LabError(
            f"{path} is damaged: {error}", "see what it says of an engine, then remove it"
        ) from error
    if document.get("version") != VERSION:
        raise LabError(f"{path} was written by another version of the lab", f"remove {path}")
    return State(
        engine=_process(document["engine"]),
        holds=tuple(
            Hold(hold["purpose"], hold["clone"], _process(hold["holder"]))
            for hold in document["holds"]
        ),
    )


def save(path: Path, state: State) -> None:
    document = {"version": VERSION, **asdict(state)}
    files.replace(path, json.dumps(document, indent=2) + "\n")


def _process(document: dict[str, Any] | None) -> Process | None:
    return Process(**document) if document else None
