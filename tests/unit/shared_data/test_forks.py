"""Copies of a process that work for it. In processes of their own: this one has threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are they made")

_SCRIPT = """
import json, os, signal, sys, threading, time
from ktrdr_sandbox.shared_data.forks import Forks, fitting, receive, send, started
found, told = [], []
def work(job, tally):
    {work}
def collect(result):
    found.append(result)
forks = Forks(work, collect=collect, observe=lambda *done: told.append(done), count=3)
"""


def outcome(body: str, work: str = "return job") -> Any:
    """What a script prints, as JSON."""
    script = _SCRIPT.format(work=work) + body
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_job_is_done_once_and_counted() -> None:
    body = """
forks.run(range(500))
print(json.dumps([sorted(found), told[-1], told == sorted(told)]))
"""
    work = "tally.tick(job); tally.finish_file(); return job"
    numbers, done, rising = outcome(body, work)
    assert numbers == list(range(500))
    assert done == [sum(range(500)), 500]
    assert rising


def test_fewer_jobs_than_copies_and_none_at_all() -> None:
    assert outcome("forks.run([7]); print(json.dumps(found))") == [7]
    assert outcome("forks.run([]); print(json.dumps(found))") == []


def test_results_larger_than_a_pipe() -> None:
    body = "forks.run(range(20)); print(json.dumps(sorted({len(one) for one in found})))"
    assert outcome(body, "return bytes(300_000 + job)") == [300_000 + n for n in range(20)]


def test_a_defect_in_a_copy_is_raised_here_and_no_copy_stays() -> None:
    body = """
try:
    forks.run(range(100))
except RuntimeError as error:
    text = str(error)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(json.dumps(text))
"""
    text = outcome(body, "return [][job]")
    assert text.startswith("Traceback")
    assert "IndexError" in text


def test_a_copy_that_somebody_ends_is_told() -> None:
    body = """
try:
    forks.run(range(100))
except ChildProcessError as error:
    print(json.dumps([error.strerror, sorted(found)]))
"""
    work = "os.kill(os.getpid(), signal.SIGKILL) if job == 50 else None; return job"
    reason, done = outcome(body, work)
    assert reason == "one of its own processes was ended"
    assert set(done) <= set(range(100)) - {50}
    assert len(done) == len(set(done)) > 0


def test_signals_are_for_the_parent_alone() -> None:
    work = "[os.kill(os.getpid(), n) for n in (2, 15, 1)]; return job"
    assert sorted(outcome("forks.run(range(9)); print(json.dumps(found))", work)) == [*range(9)]


def test_an_interrupt_ends_the_work_and_loses_no_result() -> None:
    body = """
def collect(result):
    found.append(result)
    if len(found) == 3:
        raise KeyboardInterrupt
forks = Forks(work, collect=collect, observe=lambda *_: None, count=2)
try:
    forks.run(range(1000))
except KeyboardInterrupt:
    print(json.dumps(found))
"""
    done = outcome(body)
    assert 3 <= len(done) <= 3 + 2 * 2
    assert len(set(done)) == len(done)


def test_an_interrupt_at_any_moment_loses_no_result(tmp_path: Path) -> None:
    """What a copy has done is known here, and the copies end."""
    body = f"""
import random
root = {str(tmp_path)!r}
outcomes = []
for turn in range(40):
    found.clear()
    os.mkdir(f"{{root}}/{{turn}}")
    parent, moment = os.getpid(), random.uniform(0, 0.05)
    try:
        if not os.fork():
            time.sleep(moment)
            os.kill(parent, signal.SIGINT)
            os._exit(0)
        forks = Forks(work, collect=collect, observe=lambda *_: None, count=3)
        forks.run(range(4000))
        time.sleep(9)
    except KeyboardInterrupt:
        os.wait()
    outcomes.append(sorted(int(n) for n in os.listdir(f"{{root}}/{{turn}}")) == sorted(found))
print(json.dumps(outcomes))
"""
    work = f'open(f"{tmp_path}/{{turn}}/{{job}}", "x").close(); return job'
    assert outcome(body, work) == [True] * 40


def test_copies_end_with_their_parent(tmp_path: Path) -> None:
    """Whatever ends it: they are in the middle of a job that would last for minutes."""
    note = tmp_path / "pids"
    work = f"""
    with open({str(note)!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    while True:
        tally.tick(1)
        time.sleep(0.01)
"""
    script = _SCRIPT.format(work=work) + "forks.run(range(9))"
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        while not note.exists() or len(note.read_text().split()) < 3:
            assert parent.poll() is None
            time.sleep(0.01)
        parent.kill()
    for pid in map(int, note.read_text().split()):
        while is_running(pid):
            time.sleep(0.01)


def test_one_beside_the_block_is_heard_and_ends_with_it() -> None:
    body = """
pipe, results = os.pipe()
def count():
    for number in range(3):
        send(results, (number, "x" * 100_000))
    time.sleep(60)
with started(count):
    heard = [receive(pipe)[0] for _ in range(3)]
os.close(results)
try:
    receive(pipe)
except ChildProcessError:
    heard.append("end")
print(json.dumps(heard))
"""
    assert outcome(body) == [0, 1, 2, "end"]


def test_no_copies_beside_other_threads() -> None:
    body = """
before = fitting()
threading.Thread(target=time.sleep, args=(0.5,)).start()
print(json.dumps([before, fitting()]))
"""
    cores = len(os.sched_getaffinity(0))
    assert outcome(body) == [min(4, cores) if cores > 1 else 0, 0]


def test_signals_are_heard_again_after_it() -> None:
    body = """
forks.run(range(3))
print(json.dumps([int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]))
"""
    assert outcome(body) == []


@pytest.mark.parametrize("pipes", [0, 1, 3])
def test_where_no_copy_or_only_one_can_be_made(pipes: int) -> None:
    """A copy takes two pipes, and they are not to be had."""
    body = f"""
import resource
free = os.open(os.devnull, os.O_RDONLY)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + {2 * pipes}, most))
done = forks.run(range(20))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
os.close(free)
print(json.dumps([done, sorted(found), len(os.listdir("/proc/self/fd")) - 1]))
"""
    before = outcome('print(json.dumps(len(os.listdir("/proc/self/fd")) - 1))')
    made = pipes == 3
    assert outcome(body) == [made, list(range(20)) if made else [], before]
