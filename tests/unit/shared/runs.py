"""init-shared without its command line: a home, and what one run of it gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktrdr_sandbox.commands.init_shared import Request, init_shared
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.shared.results import InitSharedResult, Observer, Progress


@dataclass
class Sharing:
    """A home to fill. `told` and `progress` hold what was said, run by run."""

    root: Path
    told: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    observe: Observer = field(init=False)

    def __post_init__(self) -> None:
        self.observe = self.progress.append

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def shared(self) -> Path:
        return self.home.shared

    def run(self, source: Path | None = None, **wanted: Any) -> InitSharedResult:
        request = Request(source=source, **wanted)
        return init_shared(self.home, request, tell=self.told.append, observe=self.observe)

    def counts(self, source: Path | None = None, **wanted: Any) -> tuple[int, int, int]:
        """Run, and give how many files were new, replaced, unchanged."""
        done = self.run(source, **wanted)
        return done.copied.new, done.copied.replaced, done.unchanged

    def refused(self, source: Path | None = None, **wanted: Any) -> SandboxError:
        """The failure of a run that has to fail."""
        try:
            done = self.run(source, **wanted)
        except SandboxError as error:
            return error
        raise AssertionError(f"it was done: {done}")

    def leftovers(self) -> Iterator[Path]:
        """Anything of this program in the shared folder that is no data."""
        yield from self.shared.rglob(".*")
