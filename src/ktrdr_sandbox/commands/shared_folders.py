"""The shared folders of all instances, and the variables under which Compose files know them."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.shared_data.layout import KINDS, make_kinds


def shared_folders(home: Home) -> dict[str, Path]:
    """Folder by kind, under the home's shared root."""
    return {kind: home.shared / kind for kind in KINDS}


def shared_variables(home: Home) -> dict[str, str]:
    """KTRDR_SHARED_DIR of the architecture document, and the three that KTRDR itself reads."""
    folders = {f"KTRDR_{kind.upper()}_DIR": str(home.shared / kind) for kind in KINDS}
    return {"KTRDR_SHARED_DIR": str(home.shared), **folders}


def make_shared_folders(home: Home) -> None:
    """Create those that are missing: the engine would make them as root. Raises `cannot-write`."""
    make_kinds(home.shared, KINDS)


def nothing_shared(home: Home) -> bool:
    """Whether there is no data, model or strategy at all."""
    from ktrdr_sandbox.shared_data import inventory  # few need it

    return inventory.is_empty(home.shared)
