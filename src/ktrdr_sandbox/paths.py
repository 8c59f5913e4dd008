"""Where things lie on disk. Everything under one root, so that KTRDR_HOME moves all of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The root folder: `~/.ktrdr` unless KTRDR_HOME says otherwise (product contract, 1)."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        configured = os.environ.get("KTRDR_HOME", "")
        return cls(Path(configured).expanduser().absolute() if configured else _default_root())

    @property
    def sandbox(self) -> Path:
        return self.root / "sandbox"

    @property
    def registry(self) -> Path:
        return self.sandbox / "instances.json"

    @property
    def registry_lock(self) -> Path:
        return self.sandbox / "instances.lock"

    @property
    def home_id(self) -> Path:
        """File with the random id that tells this home's things on an engine from others'."""
        return self.sandbox / "home-id"

    @property
    def trash(self) -> Path:
        return self.sandbox / "trash"

    @property
    def config(self) -> Path:
        return self.sandbox / "config.toml"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    @property
    def shared_manifest(self) -> Path:
        """What init-shared put into the shared folder, and from where."""
        return self.sandbox / "shared-manifest"

    @property
    def shared_lock(self) -> Path:
        return self.sandbox / "locks" / "shared.lock"

    def state_of(self, instance_id: str) -> Path:
        """Folder with the generated override and what teardown needs without the worktree."""
        return self.sandbox / "instances" / instance_id

    def instance_lock(self, instance_id: str) -> Path:
        return self.sandbox / "locks" / f"{instance_id}.lock"

    def repository_lock(self, common_dir: Path) -> Path:
        """Lock for changes to one repository's worktrees; kept out of the repository itself."""
        digest = hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:16]
        return self.sandbox / "locks" / f"repository-{digest}.lock"


def _default_root() -> Path:
    return Path.home() / ".ktrdr"


def log_folder() -> Path:
    """Where report files of this program's own defects go, as the platform has it."""
    import platformdirs  # only needed on the way to a report

    return Path(platformdirs.user_log_dir("ktrdr-sandbox", appauthor=False))


def demo_folder() -> Path:
    """Scratch folder of `demo`, as the platform has caches."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("ktrdr-sandbox", appauthor=False)) / "demo"


def pack_folder() -> Path:
    """Where packs lie while they are fetched, as the platform has caches."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("ktrdr-sandbox", appauthor=False)) / "packs"
