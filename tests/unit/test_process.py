"""Real child processes: what is kept of them, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox import process
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.errors import SandboxError
from tests.support.processes import has_ended, is_alive, python_process


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_both_streams_and_the_status_are_kept() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    outcome = process.run(python(code), environment=os.environ)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (3, "out\n", "err\n")
    assert outcome.argv == tuple(python(code))
    assert outcome.text == "err"


def test_the_environment_is_exactly_the_one_given() -> None:
    code = "import os, json; print(sorted(k for k in os.environ if k != 'LC_CTYPE'))"
    outcome = process.run(python(code), environment={"ONLY": "1"})
    assert outcome.stdout == "['ONLY']\n"


def test_nothing_is_read_from_the_terminal() -> None:
    outcome = process.run(python("input()"), environment=os.environ)
    assert "EOFError" in outcome.stderr


def test_bytes_that_are_no_text_do_no_harm() -> None:
    code = r"import sys; sys.stdout.buffer.write(b'caf\xe9\n')"
    outcome = process.run(python(code), environment=os.environ)
    assert outcome.stdout == "caf\N{REPLACEMENT CHARACTER}\n"


def started(how: str, argv: list[str], environment: dict[str, str]) -> None:
    if how == "run":
        process.run(argv, environment=environment)
    elif how == "stream":
        process.stream(argv, environment=environment, sink=lambda _: None)
    else:
        process.run_attached(argv, environment=environment)


@pytest.mark.parametrize("how", ["run", "stream", "run_attached"])
def test_no_such_program(how: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        started(how, ["docker-that-is-not-there"], {"PATH": str(tmp_path)})


_STUBBORN = """\
import os, signal, sys, time
for number in map(int, sys.argv[2:]):
    signal.signal(number, signal.SIG_IGN)
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
while True:
    time.sleep(1)
"""


def pid_in(path: Path) -> int:
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.parametrize("ignored", [[], [signal.SIGINT]])
def test_time_that_runs_out_ends_the_child(tmp_path: Path, ignored: list[int]) -> None:
    pid_file = tmp_path / "pid"
    numbers = [str(int(number)) for number in ignored]
    outcome = process.run(
        python(_STUBBORN, str(pid_file), *numbers), environment=os.environ, timeout=1.5
    )
    assert outcome.exit_code is None
    assert has_ended(pid_in(pid_file))


def test_a_child_that_ignores_everything_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    ignored = [str(int(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    outcome = process.run(
        python(_STUBBORN, str(pid_file), *ignored), environment=os.environ, timeout=1.5
    )
    assert outcome.exit_code is None
    assert has_ended(pid_in(pid_file))


def test_lines_come_as_they_are_printed() -> None:
    code = "import sys\nprint('first', flush=True)\nprint('second', file=sys.stderr)\nsys.exit(2)"
    seen: list[str] = []
    outcome = process.stream(python(code), environment=os.environ, sink=seen.append)
    assert seen == ["first", "second"]
    assert (outcome.exit_code, outcome.text) == (2, "first\nsecond")


def test_a_line_is_shown_while_the_child_still_runs(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    code = (
        "import sys, time, pathlib\nprint('waiting', flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\nprint('done')"
    )
    seen: list[str] = []

    def sink(text: str) -> None:
        seen.append(text)
        go_on.touch()

    process.stream(python(code, str(go_on)), environment=os.environ, sink=sink)
    assert seen == ["waiting", "done"]


def test_of_very_long_output_the_end_is_kept() -> None:
    outcome = process.stream(
        python("for i in range(1000): print(i)"), environment=os.environ, sink=lambda _: None
    )
    lines = outcome.text.splitlines()
    assert lines[-1] == "999"
    assert len(lines) == process.KEPT_LINES


def test_a_failing_sink_leaves_no_child(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = "print('line', flush=True)\n" + _STUBBORN

    def fail(_: str) -> None:
        raise RuntimeError("the pipe broke")

    with pytest.raises(RuntimeError, match="the pipe broke"):
        process.stream(python(code, str(pid_file)), environment=os.environ, sink=fail)
    if pid_file.exists():
        assert has_ended(pid_in(pid_file))


def test_calls_from_several_threads_do_not_mix() -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        outcome = process.run(python(f"print({number})"), environment=os.environ)
        found[number] = outcome.stdout.strip()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(8)}


_PARENT = """\
import os, sys
from ktrdr_sandbox import process
child = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
how = getattr(process, sys.argv[3])
more = {"sink": lambda _: None} if sys.argv[3] == "stream" else {}
try:
    how(child, environment=dict(os.environ), **more)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("how", ["run", "stream", "run_attached"])
def test_an_interrupt_ends_the_child_first(tmp_path: Path, how: str) -> None:
    pid_file = tmp_path / "pid"
    with python_process(_PARENT, str(pid_file), _STUBBORN, how) as parent:
        child = pid_in(pid_file)
        parent.send_signal(signal.SIGINT)
        out, _ = parent.communicate()
        assert out.endswith("interrupted\n")
        assert has_ended(child)


_WITH_A_CHILD = """\
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.run([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
"""As the docker command runs Compose: in a process of its own, and waits for it."""

DEAF = [str(int(number)) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("how", ["run", "stream"])
def test_an_interrupt_ends_what_the_child_has_started(tmp_path: Path, how: str) -> None:
    pid_file = tmp_path / "pid"
    arguments = (_WITH_A_CHILD, _STUBBORN, str(pid_file), *DEAF)
    with python_process(_GRANDPARENT, how, *arguments) as parent:
        grandchild = pid_in(pid_file)
        parent.send_signal(signal.SIGINT)
        out, _ = parent.communicate()
        assert out == "interrupted\n"
        assert has_ended(grandchild)


_GRANDPARENT = """\
import os, sys
from ktrdr_sandbox import process
how = getattr(process, sys.argv[1])
more = {"sink": lambda _: None} if sys.argv[1] == "stream" else {}
try:
    how([sys.executable, "-c", *sys.argv[2:]], environment=dict(os.environ), **more)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Caller:
    """A thread that runs one command after another, as long as they can be started."""

    def __init__(self, argv: list[str]) -> None:
        self.error: SandboxError | None = None
        self.ended = 0
        self._argv = argv
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                process.run(self._argv, environment=os.environ)
                self.ended += 1
        except SandboxError as error:
            self.error = error

    def join(self) -> None:
        self._thread.join()


@pytest.mark.parametrize("deaf", [[], DEAF])
def test_commands_of_other_threads_can_be_ended(tmp_path: Path, deaf: list[str]) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    callers = [Caller(python(_STUBBORN, str(file), *deaf)) for file in files]
    children = [pid_in(file) for file in files]
    process.end_all()
    for caller in callers:
        caller.join()
        assert caller.ended == 1
        assert caller.error is not None
        assert caller.error.code == "interrupted"
    assert all(has_ended(child) for child in children)


def test_what_they_ask_for_afterwards_is_not_started_either() -> None:
    """A question that has questions of its own would begin them after the interrupt."""
    begun, go_on = threading.Event(), threading.Event()

    def ask() -> process.Outcome:
        begun.set()
        go_on.wait(60)
        return run_in_background(
            lambda: process.run(python("print(1)"), environment=os.environ)
        ).result()

    answer = run_in_background(ask)
    begun.wait(60)
    process.end_all()
    go_on.set()
    with pytest.raises(SandboxError) as caught:
        answer.result(timeout=60)
    assert caught.value.code == "interrupted"


def test_after_that_others_can_be_started(tmp_path: Path) -> None:
    process.end_all()
    assert process.run(python("print(1)"), environment=os.environ).stdout == "1\n"
    later: list[str] = []

    def ask() -> None:
        later.append(process.run(python("print(2)"), environment=os.environ).stdout)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert later == ["2\n"]


# -- the user's own commands: hooks ------------------------------------------------------------


def own(
    tmp_path: Path, *argv: str, timeout: float = 60.0, lines: list[str] | None = None
) -> process.Outcome:
    sink = lines.append if lines is not None else (lambda _: None)
    return process.stream(
        argv, environment=os.environ, cwd=tmp_path, timeout=timeout, sink=sink, own_group=True
    )


def test_lines_of_both_streams_in_its_directory(tmp_path: Path) -> None:
    seen: list[str] = []
    outcome = own(tmp_path, "sh", "-c", "echo out; echo err >&2; pwd; cat; exit 3", lines=seen)
    assert seen == ["out", "err", str(tmp_path)]
    assert (outcome.exit_code, outcome.text) == (3, "\n".join(seen))


_ALL_DEAF = (
    "trap '' INT TERM; (trap '' INT TERM; echo $$ > shell; sleep 600) & "
    "sh -c 'trap \"\" INT TERM; echo $$ > child; exec sleep 600' & echo up; wait; sleep 600"
)


def test_time_that_runs_out_ends_all_it_started(tmp_path: Path) -> None:
    outcome = own(tmp_path, "sh", "-c", _ALL_DEAF, timeout=2)
    assert (outcome.exit_code, outcome.text) == (None, "up")
    assert has_ended(int((tmp_path / "child").read_text()))


def test_an_interrupt_ends_all_it_started(tmp_path: Path) -> None:
    def interrupt() -> None:
        pid_in(tmp_path / "child")
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        own(tmp_path, "sh", "-c", _ALL_DEAF)
    assert has_ended(int((tmp_path / "child").read_text()))


def test_an_interrupt_while_it_is_started_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child may run before this process knows of it."""
    start = subprocess.Popen

    def interrupted(*args: Any, **kwargs: Any) -> subprocess.Popen[str]:
        child: subprocess.Popen[str] = start(*args, **kwargs)
        (tmp_path / "pid").write_text(str(child.pid))
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own(tmp_path, "sleep", "600")
    assert has_ended(int((tmp_path / "pid").read_text()))


def test_an_interrupt_may_be_answered(tmp_path: Path) -> None:
    outcome = own(tmp_path, "sh", "-c", "trap 'echo bye; exit 5' INT; sleep 600 & wait", timeout=2)
    assert outcome.text == "bye"


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    outcome = own(tmp_path, "sh", "-c", "sleep 600 & echo $! > child")
    pid = int((tmp_path / "child").read_text())
    try:
        assert outcome.exit_code == 0
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_processes_by_their_environment(tmp_path: Path) -> None:
    marked = {"OF_A_HOOK": str(tmp_path), "AND": "1"}
    one = subprocess.Popen(["sleep", "600"], env={**os.environ, **marked})
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, "AND": "1"})
    try:
        assert process.end_marked(marked) == 1
        assert has_ended(one.pid)
        assert is_alive(other.pid)
    finally:
        for child in (one, other):
            child.kill()
            child.wait()


# -- libraries that start commands themselves ----------------------------------------------------


def test_what_a_library_started_is_ended_as_well(tmp_path: Path) -> None:
    program, pid_file = tmp_path / "composer", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nsleep 600\n")
    program.chmod(0o755)

    def call() -> int:
        with process.started_by_library([str(program)]):
            return subprocess.run([str(program)], check=False).returncode

    answer = run_in_background(call)
    pid_in(pid_file)
    process.end_all()
    assert answer.result(timeout=60) != 0


def test_the_environment_is_replaced_for_a_while_and_shared() -> None:
    before = dict(os.environ)
    inside, leave = threading.Event(), threading.Event()

    def other() -> str | None:
        with process.environment_replaced({"ONLY": "2"}):
            return os.environ.get("ONLY")

    def first() -> None:
        with process.environment_replaced({"ONLY": "1"}):
            inside.set()
            leave.wait(60)

    one = run_in_background(first)
    inside.wait(60)
    assert dict(os.environ) == {"ONLY": "1"}
    assert process.current_environment() == before
    with process.environment_replaced({"ONLY": "1"}):
        waiting = run_in_background(other)
        leave.set()
        one.result(timeout=60)
        assert os.environ["ONLY"] == "1"
    assert waiting.result(timeout=60) == "2"
    assert dict(os.environ) == before
