"""The branches of a repository, local and remote-only, with one call of git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.worktrees.git import try_git

_FORMAT: Final = "%(refname)%00%(worktreepath)%00%(symref)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`checked_out_at` is the worktree that has it, or ""; `remote` is set for remote-only ones."""

    name: str
    checked_out_at: str = ""
    remote: str = ""


def list_branches(cwd: Path) -> list[Branch]:
    """Local branches, those last committed to first, then remote-only ones; [] outside any."""
    order = ["--sort=-committerdate", f"--format={_FORMAT}"]
    try:
        outcome = try_git(["for-each-ref", *order, "refs/heads", "refs/remotes"], cwd=cwd)
    except SandboxError:
        return []
    local: dict[str, Branch] = {}
    remote: dict[str, Branch] = {}
    for line in outcome.stdout.splitlines() if outcome.exit_code == 0 else ():
        reference, path, symbolic = line.split("\0")
        if name := _below("refs/heads/", reference):
            local[name] = Branch(name=name, checked_out_at=path)
        elif (rest := _below("refs/remotes/", reference)) and not symbolic:
            origin, _, name = rest.partition("/")
            remote.setdefault(name, Branch(name=name, remote=origin))
    return [*local.values(), *(one for name, one in remote.items() if name not in local)]


def _below(prefix: str, reference: str) -> str:
    return reference.removeprefix(prefix) if reference.startswith(prefix) else ""
