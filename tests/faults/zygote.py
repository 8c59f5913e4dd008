"""Runs command lines in forks of one process that has everything imported, and kills some.

A point where a command can be killed is an event of Python's audit hooks: a file opened for
writing, made, renamed or removed, or a process started. The kill comes right before the event;
`phase` tells of a started git what else.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

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
    """Counts the points of one command, and kills at one of them."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.seen: list[str] = []
        self._kill_at: int | None = request.get("kill_at")
        self._phase: str = request.get("phase", "before")
        self._world: str = request["world"]

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        label = self._label(event, arguments)
        if label is None:
            return
        self.seen.append(label)
        if len(self.seen) - 1 == self._kill_at:
            self._kill()

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


def _child(request: dict[str, Any]) -> int:
    from ktrdr_sandbox.cli import app, wiring
    from tests.faults.stored_engine import StoredEngine

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    engine = StoredEngine(Path(request["engine"]))
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
    seen, points._kill_at = list(points.seen), None
    Path(request["points"]).write_text(json.dumps(seen), encoding="utf-8")
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
    for module in ("cli.app", "commands.up", "commands.destroy", "settings"):
        importlib.import_module(f"ktrdr_sandbox.{module}")  # so that every fork has it
    importlib.import_module("ktrdr_sandbox.cli.app").application()
    serve(_handle)
