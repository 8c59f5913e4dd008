"""Real processes and sockets for tests: foreign listeners, slots held for one test, crowds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ktrdr_sandbox.commands.create import EXTRA_PORTS
from ktrdr_sandbox.models import LAST_SLOT
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.slots.probe import is_port_free

_NOBODY = 65534
_LISTENER = """\
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def foreign_listener(port: int = 0, *, program: str = sys.executable) -> Iterator[tuple[int, int]]:
    """Another process listening on loopback; gives its port and pid. `program` is a Python."""
    with subprocess.Popen(
        [program, "-c", _LISTENER, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            assert line, f"nothing could listen on port {port}"
            yield int(line), child.pid
        finally:
            child.stdin.close()
            child.wait()


def heeding_hangups() -> None:
    """For a child about to start: SIGHUP ends it, though the tests may run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def as_no_root(*paths: Path) -> Iterator[None]:
    """Where root runs the tests, the block is an ordinary user's, who may look at the paths."""
    if os.geteuid():
        yield
        return
    opened = {
        folder: folder.stat().st_mode
        for path in paths
        for folder in path.parents
        if folder.stat().st_mode & 0o005 != 0o005
    }
    for folder, mode in opened.items():
        folder.chmod(mode | 0o055)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in opened.items():
            folder.chmod(mode)


def ports_of(slot: int) -> list[int]:
    """Every host port that `create` looks at."""
    return sorted(
        {*get_ports(slot).values(), *worker_ports(slot, 4), *extra_ports(slot)[:EXTRA_PORTS]}
    )


@contextmanager
def held_slot() -> Iterator[int]:
    """A slot whose ports are free and that no other test of this kind uses meanwhile.

    Counted from the last one down, because other stacks on a machine fill from the first.
    """
    folder = Path(tempfile.gettempdir())
    network = Path("/proc/self/ns/net")  # each has ports of its own
    where = network.stat().st_ino if network.exists() else 0
    with contextlib.ExitStack() as stack:
        for slot in range(LAST_SLOT, 0, -1):
            path = folder / f"ktrdr-sandbox-test-slot-{slot}-{os.getuid()}-{where}.lock"
            lock = stack.enter_context(path.open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if all(is_port_free(port) for port in ports_of(slot)):
                yield slot
                return
        raise AssertionError("no slot of this machine is free for the test")


def run_to_end(
    argv: Sequence[str | bytes], *, cwd: Path, environment: Mapping[str, str], timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run a command without stdin and keep what it prints. `timeout` in seconds."""
    return subprocess.run(
        argv,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=timeout,
    )


@contextmanager
def python_process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process with pipes; ended at the latest with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc/self").exists()
    return state.rpartition(")")[2].split()[0] != "Z"


def has_ended(pid: int, *, within: float = 10.0) -> bool:
    """Whether a process that was told to end does. `within` in seconds.

    A killed one still runs for a moment after the call that killed it has returned.
    """
    deadline = time.monotonic() + within
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait to be noticed by whoever has it now."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
