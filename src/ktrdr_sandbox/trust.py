"""Which settings a checkout may set by itself.

Its file comes from a branch, perhaps a stranger's, and counts as soon as the branch is checked out.
So what would run a program on this machine, publish ports to others or lift a refusal of isolation
counts only once a person has approved exactly that content for that repository. A setting
that nobody has judged harmless is among those: forgetting one here must not open a door.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final

HARMLESS: Final = frozenset(
    {
        "compose_file",
        "copy_files",
        "env_files",
        "gate_timeout",
        "heal_workers",
        "health_paths",
        "hook_timeout",
        "migrate",
        "profiles",
    }
)
"""How the branch's own stack is found and proven. `copy_files` is read from the main worktree's
file and only names files that git ignores there."""


def is_personal(key: str) -> bool:
    """Settings about the machine and not about a checkout: its file cannot set them at all."""
    return key in ("destroy_grace", "lock_patience", "trash_days") or key.startswith("demo_")


def is_loosening(key: str, value: Any) -> bool:
    """Whether a checkout's value needs approval. `value` is as validated."""
    if key in HARMLESS or not value:
        return False
    return not (key == "bind_address" and ipaddress.ip_address(value).is_loopback)


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of settings, whatever their order in the file and whatever stands around them."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
