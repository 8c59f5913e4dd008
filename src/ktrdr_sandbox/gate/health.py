"""The health commands of a stack's containers, asked politely.

A health command is its author's promise for the moment at which Docker would run it. Only shapes
that are known to read and nothing else run before that; of all others the engine's word is taken.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.gate.snapshot import Run, monotonic
from ktrdr_sandbox.models import PublishedPort

HOLDS: Final = 1.0  # seconds that a success has to hold: some servers run a temporary one first
HOLDS_BY_TCP: Final = 0.3  # for PostgreSQL over TCP, where that temporary server is not
EXEC_EVERY: Final = 3.0  # between runs of a command whose published port is asked meanwhile
UNHEALTHY_FOR: Final = 5.0  # seconds of `unhealthy`, of what only the engine asks, until final
STREAK: Final = 3  # successes of the engine's in a row, believed over a port that does not answer
_LONGEST_PAUSE: Final = 1.0

_ABSENT: Final = re.compile(
    r"executable file not found|^(?:OCI runtime )?exec failed|sh: (?:line )?(?:\d+: )?\S+: "
    r"(?:command )?not found\s*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`trouble` says what is known against a container that is not known to be healthy.

    `hopeless`: it will not become healthy any more, for the reason in `cause`.
    """

    healthy: bool = False
    trouble: str = ""
    hopeless: bool = False
    cause: str | None = None


HEALTHY: Final = Health(healthy=True)


class EarlyProbe(NamedTuple):
    """A health command that may be run at any time.

    `url` is what it asks by HTTP, None for the other shapes. It has to hold for `holds` seconds.
    """

    argv: tuple[str, ...]
    holds: float = HOLDS
    url: str | None = None


@dataclass(slots=True)
class _Known:
    """What is known of one run of a container."""

    probe: EarlyProbe | None
    begun: float
    health: Health = Health()
    unhealthy_since: float | None = None
    next_at: float = 0.0
    next_exec_at: float = 0.0
    task: asyncio.Task[None] | None = None


@dataclass(eq=False)
class HealthProbes:
    """Health of containers, by one probe for all who ask. `changed` is called when one settles.

    `left_to_others`: services whose health something else proves, and tells by `proven`.
    """

    engine: Engine
    http: Http
    changed: Callable[[], None] = lambda: None
    left_to_others: frozenset[str] = frozenset()
    _known: dict[Run, _Known] = field(default_factory=dict)

    async def close(self) -> None:
        """Ask nothing more."""
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def proven(self, detail: ContainerDetail) -> None:
        """Note that a container is known to be healthy by something better than its command."""
        self._of(detail).health = HEALTHY

    def status(self, detail: ContainerDetail) -> Health:
        """Tell what is known of a running container, and ask on where that is worth it."""
        if not detail.health_test:
            return HEALTHY
        known = self._of(detail)
        probe = known.probe
        # The engine asks PostgreSQL at its socket, where a temporary server answers as well.
        by_tcp = probe is not None and probe.holds == HOLDS_BY_TCP
        streak = not by_tcp or detail.health_exits[-STREAK:] == (0,) * STREAK
        if known.health.healthy or (detail.health == "healthy" and streak):
            known.health = HEALTHY
        elif probe is None:
            known.health = self._told_by_engine(detail, known)
        elif detail.service not in self.left_to_others:
            busy = known.task is not None and not known.task.done()
            if not busy and monotonic() >= known.next_at:
                known.task = asyncio.create_task(self._until_told(detail, known, probe))
        return known.health

    def _of(self, detail: ContainerDetail) -> _Known:
        run = (detail.id, detail.started_at)
        if run not in self._known:
            now = monotonic()
            known = _Known(early_probe(detail), begun=now, next_exec_at=now + EXEC_EVERY)
            self._known[run] = known
        return self._known[run]

    @staticmethod
    def _told_by_engine(detail: ContainerDetail, known: _Known) -> Health:
        if not detail.health_exits:
            return Health(trouble="its health test is first run by Docker, in its own time")
        failed = _failure(detail.health_exits[-1], detail.health_log)
        if failed.hopeless or detail.health_exits[-1] == 0:
            return failed
        if detail.health != "unhealthy":
            known.unhealthy_since = None
            return failed
        if known.unhealthy_since is None:
            known.unhealthy_since = monotonic()
        lasting = monotonic() - known.unhealthy_since >= UNHEALTHY_FOR
        return Health(trouble=failed.trouble, hopeless=lasting)

    async def _until_told(self, detail: ContainerDetail, known: _Known, probe: EarlyProbe) -> None:
        """A success counts when it holds twice some time apart."""
        began = monotonic()
        health = await self._probe(detail, known, probe)
        if health.healthy:
            await asyncio.sleep(probe.holds)
            health = await self._probe(detail, known, probe)
        now = monotonic()
        before, known.health = known.health, health
        known.next_at = now + min(max(0.1, now - began, 0.03 * (now - known.begun)), _LONGEST_PAUSE)
        if health != before:
            self.changed()

    async def _probe(self, detail: ContainerDetail, known: _Known, probe: EarlyProbe) -> Health:
        """By HTTP from this process where the port is published; that is cheaper than an exec.

        A program may listen inside its container alone, so the command is run as well, seldom.
        """
        parts = urlsplit(probe.url or "")
        port = published_port(detail, parts.port or 80) if probe.url else None
        if port is not None:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            answer = await self.http.get(port, path, host=parts.netloc)
            if answer.status is not None and answer.status < 300:
                return HEALTHY
            if monotonic() < known.next_exec_at:
                return Health(trouble=f"its health test would fail: {answer.fact}")
            known.next_exec_at = monotonic() + EXEC_EVERY
        limit = detail.health_timeout
        try:
            result = await in_background(
                lambda: self.engine.execute(detail.id, probe.argv, timeout=limit)
            )
        except SandboxError as error:
            return Health(trouble=error.message)
        if result.exit_code is None:
            return Health(trouble=f"its health test took longer than {limit:g} s")
        return HEALTHY if result.exit_code == 0 else _failure(result.exit_code, result.output)


def _failure(exit_code: int, output: str) -> Health:
    said = last_line(output) or f"exit {exit_code}"
    if not _ABSENT.search(output):
        return Health(trouble=f"its health test failed: {said}")
    cause = "the image lacks the command of the health test"
    return Health(trouble=f"its health test cannot be run: {said}", hopeless=True, cause=cause)


def last_line(text: str) -> str:
    """Give the last line that is not empty, or ""."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def published_port(detail: ContainerDetail, target: int | None = None) -> PublishedPort | None:
    """Give the host port of a container's TCP port, of its first one without a `target`."""
    for host_ip, published, own, protocol in detail.published:
        if target in (None, own) and protocol == "tcp":
            return PublishedPort(
                service=detail.service,
                target=own,
                protocol="tcp",
                host_ip=host_ip,
                published=published,
                role=None,
                variable="",
            )
    return None


# -- which commands are harmless -------------------------------------------------------------------

_WORD: Final = r"(?:'[^']*'|[^\s']\S*)"
_NOWHERE: Final = r"(?:-|/dev/null)"
# Commands that only read, by program, with the options that keep them so.
_HARMLESS: Final[Mapping[str, re.Pattern[str]]] = {
    program: re.compile(rf"(?:\S*/)?{pattern}")
    for program, pattern in {
        "curl": rf"""curl(?:\ -[fsSLkIgvqi46]+|\ --(?:fail|silent|show-error|location|head|insecure
            |fail-with-body|compressed|include|verbose)|\ -[fsSLkIgvqi46]*[mHAuw]\ ?{_WORD}
            |\ --(?:max-time|connect-timeout|header|user-agent|user|write-out|noproxy|retry
            |retry-delay)[ =]{_WORD}|\ -[fsSLkI]*o\ ?{_NOWHERE}|\ --output[ =]{_NOWHERE}
            |\ (?:-X|--request)\ (?:GET|HEAD)|\ '?[^-\s]\S*)+""",
        "wget": rf"""wget(?=.*\ (?:--spider|-\w*O|--output-document))(?:\ -[qSv]+|\ -nv
            |\ --(?:spider|quiet|no-verbose|no-check-certificate|server-response)
            |\ -[qS]*[TtYU]\ ?{_WORD}|\ --(?:tries|timeout|header|user-agent)[ =]{_WORD}
            |\ -[qS]*O\ ?{_NOWHERE}|\ --output-document[ =]{_NOWHERE}|\ '?[^-\s]\S*)+""",
        "pg_isready": rf"""pg_isready(?!.*\ (?:-h\ ?|--host[ =])/)(?:\ -q|\ --quiet
            |\ -[hpUdt]\ ?{_WORD}|\ --(?:host|port|username|dbname|timeout)[ =]{_WORD})*""",
        "redis-cli": rf"""(?:redis|valkey)-cli(?:\ --(?:no-auth-warning|raw|tls|insecure)|\ -e
            |\ -[hpaun]\ {_WORD}|\ --(?:user|pass|cacert)[ =]{_WORD})*\ (?i:ping)""",
        "nc": r"(?:nc|netcat)(?=.*\ -\w*z)(?:\ -[zvn46]+|\ -w\ ?\d+)+\ [^-\s]\S*\ \d+",
        # To it `localhost` means the socket, where a temporary server answers as well.
        "mysqladmin": rf"""(?:mysqladmin|mariadb-admin)(?=.*(?:--protocol[ =]tcp
            |(?:\ -h\ ?|--host[ =])(?!localhost\b)\S))(?:\ -s|\ --silent|\ -[huP]\ ?{_WORD}|\ -p\S*
            |\ --(?:host|user|password|port|protocol)[ =]{_WORD})*\ ping(?:\ -[huP]\ ?{_WORD}
            |\ -p\S*|\ --(?:host|user|password|port|protocol)[ =]{_WORD})*""",
    }.items()
    for pattern in (re.sub(r"\n\s+", "", pattern),)
}

_OR_FAIL: Final = re.compile(r"\s*\|\|\s*(?:exit\s+\d+|false)\s*;?\s*$")
_TO_NOWHERE: Final = re.compile(r"[12&]?>\s*/dev/null|2>&1")
_SYNTAX: Final = re.compile(r"[;&|<>`\n(){}*!\\]|\$(?!\w)")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LOCAL_URL: Final = re.compile(
    r"(?:http://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::\d{1,5})?(?:/\S*)?"
)
_SHELLS: Final = re.compile(r"(?:/usr)?(?:/bin/)?(?:ba|a|da)?sh")


def early_probe(detail: ContainerDetail) -> EarlyProbe | None:
    """Give the health command of a container as it may be run early, None where it may not."""
    kind, *rest = detail.health_test or ("NONE",)
    if kind == "CMD-SHELL" and rest:
        return _from_shell(rest[0], (*detail.health_shell, rest[0]), detail.environment)
    if kind == "CMD" and len(rest) == 3 and _SHELLS.fullmatch(rest[0]) and rest[1] == "-c":
        return _from_shell(rest[2], tuple(rest), detail.environment)
    return _early(rest, tuple(rest)) if kind == "CMD" else None


def _from_shell(
    text: str, argv: tuple[str, ...], environment: Mapping[str, str]
) -> EarlyProbe | None:
    """A single command with nothing about it but `|| exit 1` and output that goes nowhere."""
    command = _TO_NOWHERE.sub(" ", _OR_FAIL.sub("", text.strip()))
    if _SYNTAX.search(re.sub(r"'[^']*'", "", _VARIABLE.sub("x", command))):
        return None
    try:
        expanded = _VARIABLE.sub(lambda name: environment.get(name[1] or name[2], ""), command)
        return _early(shlex.split(expanded), argv)
    except ValueError:
        return None


def _early(words: Sequence[str], argv: tuple[str, ...]) -> EarlyProbe | None:
    text = shlex.join(words)
    program = next((name for name, one in _HARMLESS.items() if one.fullmatch(text)), None)
    if program == "pg_isready":
        return EarlyProbe(argv=("env", "PGHOST=127.0.0.1", *argv), holds=HOLDS_BY_TCP)
    if program in ("curl", "wget"):
        asks_more = re.search(r" (?:-\w*[Hu]\b|--header|--user|-X|--request|--head|-\w*I)", text)
        urls = [word for word in words[1:] if "/" in word or not word.startswith("-")]
        plain = [word for word in urls if _LOCAL_URL.fullmatch(word)]
        url = plain[0] if len(plain) == 1 and not asks_more else None
        return EarlyProbe(argv=argv, url=url and f"http://{url.removeprefix('http://')}")
    return EarlyProbe(argv=argv) if program else None
