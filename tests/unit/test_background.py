"""Questions asked at once, and waiting for their answers."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.errors import SandboxError


def test_the_answer() -> None:
    one, other = run_in_background(lambda: 7), run_in_background(lambda: "seven")
    assert (one.result(), other.result(), one.result()) == (7, "seven", 7)


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    def question() -> int:
        raise SandboxError("docker-missing", "None.")

    with pytest.raises(SandboxError, match="None"):
        run_in_background(question).result()


def test_questions_do_not_wait_for_one_another() -> None:
    second = threading.Event()
    one, other = run_in_background(lambda: second.wait(60)), run_in_background(second.set)
    other.result()
    assert one.result() is True


def test_no_answer_in_time() -> None:
    known = threading.Event()
    answer = run_in_background(known.wait)
    with pytest.raises(TimeoutError):
        answer.result(timeout=0.3)
    with pytest.raises(TimeoutError):
        answer.result(timeout=0)
    known.set()
    assert answer.result(timeout=60) is True


_INTERRUPTED = """\
import signal, threading
from ktrdr_sandbox.background import run_in_background

def question():
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    threading.Event().wait(50)

try:
    run_in_background(question).result()
    print("answered")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_that_did_not_wake_the_one_who_waits_is_noticed() -> None:
    """As one that comes in the moment before the wait, which cannot be made to happen."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)
