"""Where things lie on disk. Everything under one root, so that KTRDR_HOME moves all of it."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError

ENV_FILE_NAME: Final = ".env.sandbox"


class Home:
    """The root folder: `~/.ktrdr` unless KTRDR_HOME says otherwise (product contract, 1)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared = root / "shared"
        self.sandbox = root / "sandbox"
        self.registry = self.sandbox / "instances.json"
        self.registry_lock = self.sandbox / "instances.lock"
        self.home_id = self.sandbox / "home-id"  # tells its things on an engine from others'
        self.trash = self.sandbox / "trash"
        self.config = self.sandbox / "config.toml"
        self.shared_manifest = self.sandbox / "shared-manifest"  # what init-shared put, from where
        self.shared_lock = self.sandbox / "locks" / "shared.lock"

    @classmethod
    def from_environment(cls) -> Home:
        """As this process's environment has it. Raises `bad-settings` where that means no folder.

        In a container, for one, a user may have neither HOME nor a line in the password file.
        """
        configured = os.environ.get("KTRDR_HOME", "")
        try:
            if configured:
                return cls(Path(configured).expanduser().absolute())
            return cls(Path.home() / ".ktrdr")
        except RuntimeError:
            raise SandboxError(
                "bad-settings",
                f"KTRDR_HOME is {configured}, and there is no such user."
                if configured
                else "Nothing tells where the files of this program belong: HOME is not set.",
                hints=("Set KTRDR_HOME to a folder of yours.",),
            ) from None

    def state_of(self, instance_id: str) -> Path:
        """Folder with the generated override and what teardown needs without the worktree."""
        return self.sandbox / "instances" / instance_id

    def instance_lock(self, instance_id: str) -> Path:
        return self.sandbox / "locks" / f"{instance_id}.lock"

    def repository_lock(self, common_dir: Path) -> Path:
        """Lock for changes to one repository's worktrees; kept out of the repository itself."""
        digest = zlib.crc32(os.fsencode(common_dir))
        return self.sandbox / "locks" / f"repository-{digest:08x}.lock"


def working_directory() -> Path:
    """Where the user is. Raises `not-in-instance` when that has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise SandboxError(
            "not-in-instance",
            "The current directory no longer exists.",
            hints=("Change to another directory.",),
        ) from None


def checkout_root(start: Path) -> Path | None:
    """The root of the git working tree around a directory, without asking git."""
    return next((one for one in (start, *start.parents) if (one / ".git").exists()), None)


def log_folder() -> Path:
    """Where report files of this program's own defects go, as the platform has it."""
    import platformdirs  # loads configparser, and few commands come here

    return Path(platformdirs.user_log_dir("ktrdr-sandbox", appauthor=False))


def demo_folder() -> Path:
    """Scratch folder of `demo`, as the platform has caches."""
    return _cache() / "demo"


def pack_folder() -> Path:
    """Where packs lie while they are fetched, as the platform has caches."""
    return _cache() / "packs"


def _cache() -> Path:
    import platformdirs  # as above

    return Path(platformdirs.user_cache_dir("ktrdr-sandbox", appauthor=False))
