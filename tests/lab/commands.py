"""Starts the processes that end by themselves: argv lists only, captured, time-limited."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError

TAIL_LINES = 15


class CommandError(LabError):
    """A command ended with a status other than 0, or ran into its time limit."""


def attempt(
    argv: Sequence[str],
    *,
    limit: float,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.CompletedProcess[bytes] | None:
    """The completed process, whatever its status; None if there is none or time ran out."""
    try:
        return subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=limit,
            env=env,
            check=False,
        )
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return None


def answers(argv: Sequence[str], *, limit: float, env: Mapping[str, str] | None = None) -> bool:
    done = attempt(argv, limit=limit, env=env)
    return done is not None and done.returncode == 0


def run(
    argv: Sequence[str],
    *,
    limit: float,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> str:
    """Standard output of a command that must succeed."""
    done = attempt(argv, limit=limit, env=env, stdin=stdin)
    if done is None:
        raise CommandError(f"`{shown(argv)}` is not there, or took longer than {limit:.0f} s")
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace") or done.stdout.decode(errors="replace")
        raise CommandError(f"`{shown(argv)}` ended with {done.returncode}", *tail(said))
    return done.stdout.decode(errors="replace")


def run_logged(
    argv: Sequence[str], *, log: Path, limit: float, env: Mapping[str, str] | None = None
) -> None:
    """Run a talkative command, its output appended to `log`; the end of it is told on failure."""
    with log.open("ab") as out:
        begin = out.tell()
        try:
            status: int | None = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=limit,
                env=env,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = None
        except FileNotFoundError as missing:
            raise CommandError(f"`{argv[0]}` is not installed") from missing
    if status != 0:
        how = f"took longer than {limit:.0f} s" if status is None else f"ended with {status}"
        said = log.read_bytes()[begin:].decode(errors="replace")
        raise CommandError(f"`{shown(argv)}` {how}; all of it: {log}", *tail(said))


def shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 120 else text[:117] + "..."


def tail(text: str) -> list[str]:
    return [f"| {line}" for line in text.splitlines()[-TAIL_LINES:]]
