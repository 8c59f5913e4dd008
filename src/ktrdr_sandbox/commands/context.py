"""What every use case needs: home, settings, registry, an engine for an address, a voice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.state.registry import RegistryStore

if TYPE_CHECKING:
    from ktrdr_sandbox.docker.engine import Engine
    from ktrdr_sandbox.models import EngineAddress
    from ktrdr_sandbox.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed to each use case by `cli/wiring.py`; tests hand in their own.

    `tell` takes a sentence for the user (shown on stderr); `settings` reads them for a checkout.
    """

    home: Home
    cwd: Path
    environment: Mapping[str, str]
    registry: RegistryStore
    engine: Callable[[EngineAddress], Engine]
    settings: Callable[[Path | None], Settings]
    tell: Callable[[str], None]

    def lock_patience(self) -> float:
        """Seconds to wait for another command on the same instance. Raises `bad-settings`."""
        return self.settings(None).lock_patience
