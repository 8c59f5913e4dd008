"""Instances for tests of the registry."""

from __future__ import annotations

from pathlib import Path

from ktrdr_sandbox.models import Instance


def an_instance(name: str = "feat-x", *, slot: int = 2, uuid: str = "") -> Instance:
    return Instance(
        id=f"ktrdr--{name}",
        uuid=uuid or f"uuid-of-{name}",
        slot=slot,
        path=Path(f"/code/ktrdr--{name}"),
        created_at="2026-01-15T10:30:00Z",
        is_worktree=True,
        parent_repo=Path("/code/ktrdr"),
        state="created",
        created_by="create",
    )
