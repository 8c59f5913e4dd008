"""Runs command lines in forks of one process that has everything imported, and kills some.

A point where a command can be killed is an event of Python's audit hooks: a file opened for
writing, made, renamed or removed, or a process started. The kill comes right before the event;
`phase` tells of a started git what else.

What a kill leaves is the files as they are at that moment. So one run can keep them for all its
points, and spares a run for each; where that is the same as for the point before, once.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.program import import_all
from tests.support.zygote import ended, serve

CHANGES = frozenset(
    {
        "os.chmod",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "shutil.copytree",
        "shutil.move",
        "shutil.rmtree",
    }
)


BY_FOLDER = frozenset({"write", "os.mkdir", "os.symlink"})
"""What is named by the folder that it is opened from; a relative path then. Removals are done that
way too, one by one through a whole directory: too many to be points."""


class Points:
    """Counts the points of one command, and kills at one of them or keeps the files at all."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.seen: list[str] = []
        self.kept: list[int] = []
        """For each point the number of the copy that has its files."""
        self._kill_at: int | None = request.get("kill_at")
        self._phase: str = request.get("phase", "before")
        self._world: str = request["world"]
        self._copies: str | None = request.get("copies")
        self._files: frozenset[tuple[object, ...]] = frozenset()
        self._lock = threading.RLock()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        label = self._label(event, arguments)
        if label is None:
            return
        with self._lock:  # other threads wait with what they are about to change
            self.seen.append(label)
            if len(self.seen) - 1 == self._kill_at:
                self._kill()
            if self._copies is not None:
                self._keep(self._copies)

    def _keep(self, copies: str) -> None:
        files = frozenset(_files(self._world))
        number = self.kept[-1] if self.kept else -1
        if files != self._files or number < 0:
            self._files, number = files, number + 1
            copying = os.posix_spawn(
                _CP, ["cp", "-a", "--", self._world, f"{copies}/{number}"], os.environ
            )
            assert ended(copying) == 0
        self.kept.append(number)

    def _kill(self) -> None:
        if self._phase == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        self._kill_at = None
        Path(os.environ["FAULT"]).write_text(self._phase, encoding="utf-8")

    def _label(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event == "subprocess.Popen":
            return "start " + " ".join(str(part) for part in arguments[1][:3])
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if flags else "r" not in (mode or "r")
            return self._inside("write", path) if writes else None
        return self._inside(event, arguments[0]) if event in CHANGES else None

    def _inside(self, event: str, path: Any) -> str | None:
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if event in BY_FOLDER and not text.startswith("/"):
            return f"{event} (in a folder) {text}"
        if not text.startswith(self._world) or text.endswith((".lock", ".holder")):
            return None
        return f"{event} {text.removeprefix(self._world)}"


_CP = shutil.which("cp") or "cp"


def _files(folder: str) -> Iterator[tuple[object, ...]]:
    """Every file with what changes when it is written; locks come and go without a difference."""
    for entry in os.scandir(folder):
        if entry.name.endswith(".lock"):
            continue
        found = entry.stat(follow_symlinks=False)
        is_folder = entry.is_dir(follow_symlinks=False)
        written = 0 if is_folder else found.st_mtime_ns
        yield entry.path, found.st_mode, found.st_size * (not is_folder), found.st_ino, written
        if is_folder:
            yield from _files(entry.path)


def _child(request: dict[str, Any]) -> int:
    from ktrdr_sandbox.cli import app, wiring
    from tests.support.fake_engine import FakeEngine

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    engine = FakeEngine(file=Path(request["engine"]))
    setattr(wiring, "_engine", lambda _address: engine)  # noqa: B010
    # Ports are the machine's own: what real stacks take meanwhile is no business of these worlds.
    probe = importlib.import_module("ktrdr_sandbox.slots.probe")
    setattr(probe, "is_port_free", lambda *_, **__: True)  # noqa: B010
    points = Points(request)
    sys.addaudithook(points.hook)
    try:
        status = app.run(request["argv"])
    except BaseException:  # noqa: BLE001  a defect, shown by the test
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    points._kill_at = points._copies = None
    told = json.dumps({"seen": points.seen, "kept": points.kept})
    Path(request["points"]).write_text(told, encoding="utf-8")
    return status


UNEXPECTED = "ended unexpectedly with"


def _act(request: dict[str, Any]) -> int:
    """Command after command until the time is up, each in a fork of its own."""
    dice = random.Random(request["seed"])
    until = time.monotonic() + request["seconds"]
    unexpected = 0
    while time.monotonic() < until:
        argv = dice.choice(request["commands"])
        kill_at = dice.randrange(60) if dice.random() < request["kills"] else None
        child = os.fork()
        if child == 0:
            os._exit(_child({**request["base"], "argv": argv, "kill_at": kill_at}))
        status = ended(child)
        if status not in request["expected"]:
            unexpected += 1
            with Path(request["base"]["output"]).open("a", encoding="utf-8") as output:
                output.write(f"{UNEXPECTED} {status}: {argv}, kill at {kill_at}\n")
    return min(unexpected, 99)


def _handle(request: dict[str, Any]) -> int:
    os._exit(_act(request) if "commands" in request else _child(request))


if __name__ == "__main__":
    import_all()  # so that every fork has it
    importlib.import_module("ktrdr_sandbox.cli.app").application()
    serve(_handle)
