"""Whole stacks of the sample, with an engine and the lab's images: minutes for each run."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench import init_shared
from tests.bench.harness import Pair, timed
from tests.support.bench_stage import Stage, stage
from tests.support.repositories import git

_PORT = re.compile(r'- "(\d+):(\d+)"')
_NAME = re.compile(r"^ +container_name: .*\n", re.M)
_COMPOSE_FILE = Path("deploy", "environments", "local", "docker-compose.yml")


def one_stack(runs: int) -> tuple[Pair, Pair, Pair]:
    """up, up again on what runs, and destroy."""
    up, again, destroy = Pair(), Pair(), Pair()
    with stage() as place:
        tree = place.repository.parent / "tree"
        for _ in range(runs):
            up.raw.append(timed(lambda: place.compose("up", "-d", "--wait")))
            again.raw.append(timed(lambda: place.compose("up", "-d")))
            git(place.repository, "worktree", "add", "--detach", str(tree))
            destroy.raw.append(timed(lambda: _plain_end(place, tree)))
            up.ours.append(timed(lambda: place.tool("up")))
            again.ours.append(timed(lambda: place.tool("up")))
            destroy.ours.append(timed(lambda: place.tool("destroy", "--yes", place.project)))
            place.tool("create", place.project)
    return up, again, destroy


def _plain_end(place: Stage, tree: Path) -> None:
    place.compose("down", "-v")
    git(place.repository, "worktree", "remove", "--force", str(tree))


def shared(runs: int) -> tuple[Pair, Pair]:
    """init-shared and its repeat, once for each copy that `cp -a` makes."""
    scratch = Path(tempfile.mkdtemp(prefix="ktrdr-bench-"))
    try:
        plain, first, again = init_shared.measure(scratch, runs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    raw = [one.wall for one in plain]
    copied, repeated = ([one.wall for one in runs_of_it] for runs_of_it in (first, again))
    return Pair(ours=copied, raw=raw), Pair(ours=repeated, raw=raw)


def several(runs: int, count: int) -> Pair:
    """So many stacks at once, to the last that is ready."""
    pair = Pair()
    with stage() as place, ExitStack() as ending:
        names = [f"{place.project}-{number}" for number in range(count)]
        plain = _Fleet(place, [_plain(place, name) for name in names], [*_DOCKER, "-p"], names)
        ours = _Fleet(place, [place.repository] * count, place.program, names)
        for name in names:
            place.tool("create", name)
            ending.callback(place.tool, "destroy", "--yes", "--force", name)
        ending.callback(plain.run, "down", "-v", "--timeout", "0")
        for _ in range(runs):
            pair.raw.append(timed(lambda: plain.run("up", "-d", "--wait")))
            plain.run("down", "-v", "--timeout", "0")
            pair.ours.append(timed(lambda: ours.run_each("up")))
            ours.run_each("down", "--volumes", "--now")
    return pair


_DOCKER = ("docker", "compose")


@dataclass(frozen=True)
class _Fleet:
    """Several stacks, each with a folder and a name that its command takes."""

    place: Stage
    folders: Sequence[Path]
    program: Sequence[str]
    names: Sequence[str]

    def run(self, *arguments: str) -> None:
        """The name before the arguments, as Compose has it."""
        self._at_once([[*self.program, name, *arguments] for name in self.names])

    def run_each(self, command: str, *options: str) -> None:
        """The name after the command."""
        self._at_once([[*self.program, command, name, *options] for name in self.names])

    def _at_once(self, commands: Sequence[Sequence[str]]) -> None:
        """Run them all and wait for the last. The script ends when one fails."""
        running = [
            subprocess.Popen(
                argv,
                cwd=folder,
                env=dict(self.place.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for argv, folder in zip(commands, self.folders, strict=True)
        ]
        ended = [child.wait() for child in running]
        if any(ended):
            sys.exit(f"{' '.join(commands[0])} and its like ended with {ended}")


def _plain(place: Stage, name: str) -> Path:
    """A copy of the checkout as somebody makes one by hand: other ports, no container names."""
    copy = place.repository.parent / f"plain-{name}"
    shutil.copytree(place.repository, copy, symlinks=True)
    file = copy / _COMPOSE_FILE
    text = _NAME.sub("", file.read_text(encoding="utf-8"))
    file.write_text(_PORT.sub(lambda m: f'- "{_free_port()}:{m[2]}"', text), encoding="utf-8")
    return copy


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
