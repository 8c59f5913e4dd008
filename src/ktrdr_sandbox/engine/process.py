"""The one place that starts Docker. Argument lists only; output kept; secrets never in the list."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ktrdr_sandbox.engine.interface import LineSink
from ktrdr_sandbox.errors import SandboxError

KEPT_LINES: Final = 400
"""Last lines of a long command's output that are kept for its error."""

_PATIENCE: Final = (5.0, 3.0)
"""Seconds between interrupt and terminate, and between terminate and kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    argv: tuple[str, ...]
    exit_code: int | None
    """None when time ran out."""
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """What the command said, error stream first choice."""
        return self.stderr.strip() or self.stdout.strip()


def run(
    argv: Sequence[str], *, environment: Mapping[str, str], timeout: float | None = None
) -> Outcome:
    """Run to the end and capture both streams. `timeout` in seconds. Raises `docker-missing`."""
    with _started(argv, environment, stderr=subprocess.PIPE) as child:
        try:
            stdout, stderr = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stdout, stderr = _end(child)
            return Outcome(argv=tuple(argv), exit_code=None, stdout=stdout, stderr=stderr)
    return Outcome(argv=tuple(argv), exit_code=child.returncode, stdout=stdout, stderr=stderr)


def stream(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    sink: LineSink,
    keep: int = KEPT_LINES,
) -> Outcome:
    """Run to the end, giving each line of both streams to `sink`; the last `keep` are kept."""
    kept: deque[str] = deque(maxlen=keep)
    with _started(argv, environment, stderr=subprocess.STDOUT) as child:
        try:
            for line in child.stdout or ():
                text = line.rstrip("\r\n")
                kept.append(text)
                sink(text)
            child.wait()
        except BaseException:
            _end(child)
            raise
    return Outcome(argv=tuple(argv), exit_code=child.returncode, stdout="", stderr="\n".join(kept))


def hand_over(argv: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run with this program's own streams and give back the exit status.

    An interrupt from the terminal reaches the child as well; it is given time to end by itself.
    """
    try:
        child = subprocess.Popen(list(argv), env=dict(environment))
    except FileNotFoundError as error:
        raise docker_missing() from error
    try:
        return child.wait()
    except BaseException:
        _end(child)
        raise


@contextmanager
def _started(
    argv: Sequence[str], environment: Mapping[str, str], *, stderr: int
) -> Iterator[subprocess.Popen[str]]:
    try:
        child = subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise docker_missing() from error
    try:
        yield child
    except BaseException:
        if child.poll() is None:
            _end(child)
        raise
    finally:
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _end(child: subprocess.Popen[Any]) -> tuple[str, str]:
    """Interrupt, then terminate, then kill. Returns what was still in the pipes."""
    for number, patience in zip((signal.SIGINT, signal.SIGTERM), _PATIENCE, strict=True):
        child.send_signal(number)
        try:
            out, err = child.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        except ValueError:  # a stream was read to its end already
            return "", ""
        return out or "", err or ""
    child.kill()
    child.wait()
    return "", ""


def docker_missing() -> SandboxError:
    return SandboxError(
        "docker-missing",
        "The docker command was not found on PATH.",
        hints=("Install Docker: https://docs.docker.com/engine/install/",),
    )


def inherited() -> dict[str, str]:
    """This process's environment, as it is now."""
    return dict(os.environ)


__all__ = ["Outcome", "docker_missing", "hand_over", "inherited", "run", "stream"]
