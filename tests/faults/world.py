"""A whole machine in a folder that can be put back as it was: repositories, home, engine."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.fake_engine import FakeEngine
from tests.support.repositories import GitRepository, repository
from tests.support.zygote import Zygote

IMAGE = "tiny:1"
IGNORED = (".env", "local/key")
"""Files of the main worktree that `create` copies."""

COMPOSE = {
    "services": {
        "db": {
            "image": IMAGE,
            "command": ["sleep", "600"],
            "volumes": [{"type": "volume", "source": "rows", "target": "/rows", "volume": {}}],
        },
        "backend": {
            "image": "ktrdr-backend:dev",
            "build": {"context": "."},
            "command": ["sleep", "600"],
            "ports": [{"target": 8000, "published": "8000", "protocol": "tcp", "mode": "ingress"}],
            "volumes": [{"type": "bind", "source": "./logs", "target": "/app/logs", "bind": {}}],
        },
    },
    "volumes": {"rows": {}},
}

# What git does is played out by the real one, in a script that kills when told to: `after` it
# ended, `both` while it runs, and `orphan`, where it is left to go on by itself.
GIT = """\
#!/bin/bash
if [[ -n ${FAULT-} && -f $FAULT ]]; then
    phase=$(<"$FAULT")
    rm -f "$FAULT"
    case $phase in
    after) "$REAL_GIT" "$@"; kill -9 $PPID ;;
    orphan) kill -9 $PPID; exec -a git "$REAL_GIT" "$@" ;;
    both) "$REAL_GIT" "$@" & kill -9 $PPID; sleep 0.00$((RANDOM % 5)); kill -9 $! ;;
    esac
    exit 0
fi
exec -a git "$REAL_GIT" "$@"
"""


_FILES = ("points", "output", "fault")


@dataclass(frozen=True)
class Ending:
    """How a command ended: `status` as `subprocess` has it, `points` where it can be killed."""

    argv: tuple[str, ...]
    status: int
    output: str
    points: tuple[str, ...]
    kept: tuple[int, ...] = ()
    """For each point the copy that has the files as they were, as `run` was told to keep them."""

    @property
    def killed(self) -> bool:
        return self.status == -9


def quick_folder() -> AbstractContextManager[str]:
    """A folder in memory where there is one: a world is copied and synced hundreds of times."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**29
    return TemporaryDirectory(prefix="ktrdr-faults-", dir=memory if roomy else None)


class FaultWorld:
    """`keep` remembers everything as it is now, `restore` puts it back, at the same paths."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.root = folder / "world"
        self._kept = folder / "kept"
        self._copies = folder / "copies"
        self._scratch = folder / "scratch"
        self._zygote = zygote
        self.home = self.root / "home"
        self.engine_file = self.root / "engine" / "state"
        self._scratch.mkdir()
        self.engine_file.parent.mkdir(parents=True)
        self._bin = self._scratch / "bin"
        self._bin.mkdir()
        (self._bin / "git").write_text(GIT, encoding="utf-8")
        (self._bin / "git").chmod(0o755)
        self.repository = repository(self.root / "ktrdr")
        self.repository.commit(
            {
                "docker-compose.yml": json.dumps(COMPOSE),
                ".gitignore": "logs/\n.env\nlocal/\n",
                ".worktreeinclude": ".env\nlocal/*\n",
                **{f"ktrdr/module_{i}.py": f"{i}\n" * 200 for i in range(3)},
            }
        )
        self.repository.write({name: f"{name}\n" * 3 for name in IGNORED})
        engine = self.engine
        with engine.turn():
            engine._images.update({IMAGE, "ktrdr-backend:dev"})

    @property
    def engine(self) -> FakeEngine:
        return FakeEngine(file=self.engine_file)

    def engine_now(self) -> FakeEngine:
        """The engine with its state read."""
        engine = self.engine
        with engine.turn():
            return engine

    def path_of(self, name: str) -> Path:
        return self.root / f"ktrdr--{name}"

    def checkout(self, name: str) -> GitRepository:
        return GitRepository(self.path_of(name))

    def keep(self) -> None:
        shutil.rmtree(self._kept, ignore_errors=True)
        _copy(self.root, self._kept)

    def restore(self) -> None:
        shutil.rmtree(self.root)
        _copy(self._kept, self.root)

    def take(self, copy: int) -> None:
        """Put back what `run` kept at a point."""
        shutil.rmtree(self.root)
        (self._copies / str(copy)).rename(self.root)

    def run(
        self,
        *argv: str,
        kill_at: int | None = None,
        phase: str = "before",
        keep: bool = False,
        cwd: Path | None = None,
    ) -> Ending:
        """Run a command line: killed at a point, or with each point kept for `take`."""
        request = self.request("only", cwd=cwd)
        points, output, fault = (self._scratch / f"only.{one}" for one in _FILES)
        for path in (points, output, fault):
            path.unlink(missing_ok=True)
        request |= {"argv": argv, "kill_at": kill_at, "phase": phase}
        if phase != "before":
            request["env"] = self._with_faulty_git(fault)
        if keep:
            self._copies.mkdir()
            request["copies"] = str(self._copies)
        (status,) = self._zygote.run(request)
        fault.unlink(missing_ok=True)
        told = json.loads(points.read_text()) if points.exists() else {"seen": [], "kept": []}
        said = output.read_text(encoding="utf-8")
        return Ending(argv, status, said, tuple(told["seen"]), tuple(told["kept"]))

    def together(self, requests: Sequence[dict[str, Any]]) -> list[int]:
        return self._zygote.run(*requests)

    def request(self, label: str, *, cwd: Path | None = None) -> dict[str, Any]:
        """Everything of a request but its command line; `label` names its files."""
        points, output, _ = (self._scratch / f"{label}.{one}" for one in _FILES)
        return {
            "cwd": str(cwd or self.repository.root),
            "world": str(self.root),
            "engine": str(self.engine_file),
            "points": str(points),
            "output": str(output),
            "env": self._environment(),
        }

    def output(self, label: str) -> str:
        return (self._scratch / f"{label}.output").read_text(encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KTRDR_HOME": str(self.home)}

    def _with_faulty_git(self, fault: Path) -> dict[str, str]:
        real = shutil.which("git")
        assert real is not None
        path = f"{self._bin}:{os.environ['PATH']}"
        return {**self._environment(), "PATH": path, "FAULT": str(fault), "REAL_GIT": real}

    def ok(self, *argv: str, cwd: Path | None = None) -> Ending:
        """Run a command that must succeed."""
        ending = self.run(*argv, cwd=cwd)
        assert ending.status == 0, ending
        return ending

    # -- what is there -----------------------------------------------------------------------

    def registered(self) -> dict[str, dict[str, Any]]:
        path = self.home / "sandbox" / "instances.json"
        if not path.exists():
            return {}
        return dict(json.loads(path.read_text(encoding="utf-8"))["instances"])

    def residue(self) -> list[str]:
        """Files that only exist while something is under way."""
        patterns = ("**/*.tmp", "**/.*.removing-*", "**/*.partial", "**/*.jsonl", "**/*.damaged-*")
        found = {path for pattern in patterns for path in self.root.glob(pattern)}
        return sorted(str(path.relative_to(self.root)) for path in found)

    def snapshot(self, *folders: Path) -> dict[str, str]:
        """Every file below these folders with its content; git's own files left out."""
        return {
            str(path.relative_to(self.root)): _content(path)
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if ".git" not in path.relative_to(folder).parts
        }


def _content(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return f"{stat.S_IMODE(path.stat().st_mode):o} {path.read_bytes()!r}"


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)
