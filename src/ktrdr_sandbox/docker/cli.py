"""The real engine: Docker's command line for objects; stacks are Compose's, by its base."""

from __future__ import annotations

import functools
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.docker.compose import ComposeEngine
from ktrdr_sandbox.docker.engine import (
    Belonging,
    BelongingKind,
    Container,
    ContainerDetail,
    ExecResult,
    Resources,
    Versions,
)
from ktrdr_sandbox.docker.environment import child_environment, flags
from ktrdr_sandbox.docker.errors import (
    compose_missing,
    docker_missing,
    engine_failed,
    not_answering,
)
from ktrdr_sandbox.docker.parsing import (
    CONTAINER_FORMAT,
    belonging_format,
    network_ids,
    parse_belonging,
    parse_container,
    parse_detail,
)
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import LABEL_UUID, EngineAddress

_ANSWER_TIME: Final = 20.0  # seconds for a plain question, before it counts as not answering
_SETTLING: Final = 3.0
"""Seconds for which networks, volumes and images may still be held by containers just removed:
Engine 20.10 answers `rm` before the last of their endpoints is gone."""

_HELD: Final = re.compile(r"active endpoints|in use|being used|is using its", re.I)
_GONE: Final = re.compile(r"no such (container|object|network|volume|image)|not found", re.I)
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
_COMPLAINT: Final = re.compile(r"Error: |Error response from daemon|error from daemon")

_END_MARKED: Final = """\
for one in /proc/[0-9]*; do
  grep -q "$1" "$one/environ" 2>/dev/null && kill -9 "${one#/proc/}"
done
"""
"""Ends the command of that mark, and what it has started, inside its container."""


class DockerEngine(ComposeEngine):
    """One engine, reached by the `docker` command with the address's flags on every call."""

    def __init__(self, address: EngineAddress, inherited: Mapping[str, str]) -> None:
        self.address = address
        self._environment = child_environment(inherited, address=address)
        self._docker = ["docker", *flags(address)]
        self._executing: dict[str, str] = {}
        """Containers of the commands that run inside one, by the mark of each."""

    # -- questions ---------------------------------------------------------------------------

    def versions(self) -> Versions:
        found = json.loads(self._ask("version", "--format", "{{json .}}"))
        server = found.get("Server") or {}
        if not server:
            raise not_answering(self.address, "")
        compose = self._run("compose", "version", "--short")
        if compose.exit_code:
            raise compose_missing()
        return Versions(
            client=found["Client"]["Version"],
            engine=server["Version"],
            api=server["ApiVersion"],
            compose=compose.stdout.strip().removeprefix("v"),
        )

    def containers(
        self, *, uuid: str | None = None, ids: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        filters = [f"--filter=label={LABEL_UUID}={uuid}"] if uuid else []
        filters += [f"--filter=id={one}" for one in ids]
        text = self._ask("ps", "--all", "--no-trunc", *filters, "--format", CONTAINER_FORMAT)
        return tuple(parse_container(line) for line in text.splitlines() if line)

    def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
        return tuple(parse_detail(entry) for entry in self.describe(ids))

    def describe(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        if not ids:
            return []
        outcome = self._run("container", "inspect", *ids)
        # With some of the ids gone it prints the others and fails; the missing are simply absent.
        if outcome.exit_code and not _GONE.search(outcome.stderr):
            raise engine_failed(outcome, self.address)
        found: list[dict[str, Any]] = json.loads(outcome.stdout or "[]")
        return found

    def cut_off(self, ids: Sequence[str]) -> tuple[str, ...]:
        if not ids:
            return ()
        networks = run_in_background(lambda: self._ask("network", "ls", "--quiet", "--no-trunc"))
        used = {entry["Id"]: network_ids(entry) for entry in self.describe(ids)}
        existing = frozenset(networks.result().split())
        return tuple(container for container, wanted in used.items() if wanted - existing)

    def resources(self, uuid: str) -> Resources:
        wanted = f"--filter=label={LABEL_UUID}={uuid}"
        networks = run_in_background(lambda: self._names("network", "ls", wanted))
        volumes = run_in_background(lambda: self._names("volume", "ls", wanted))
        return Resources(
            containers=self.containers(uuid=uuid),
            networks=networks.result(),
            volumes=volumes.result(),
        )

    def _names(self, *arguments: str) -> tuple[str, ...]:
        return tuple(self._ask(*arguments, "--format", "{{.Name}}").split())

    def belongings(self) -> tuple[Belonging, ...]:
        networks = run_in_background(lambda: self._belongings("network", "network", "ls"))
        volumes = run_in_background(lambda: self._belongings("volume", "volume", "ls"))
        containers = self._belongings("container", "ps", "--all")
        return (*containers, *networks.result(), *volumes.result())

    def _belongings(self, kind: BelongingKind, *listing: str) -> list[Belonging]:
        text = self._ask(*listing, "--format", belonging_format(kind))
        return [parse_belonging(kind, line) for line in text.splitlines()]

    def images(self) -> frozenset[str]:
        text = self._ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
        return frozenset(line for line in text.splitlines() if "<none>" not in line)

    def networks(self) -> Mapping[str, tuple[str, ...]]:
        names = self._ask("network", "ls", "--quiet", "--no-trunc").split()
        # One may go meanwhile: it prints the others and fails.
        text = self._run("network", "inspect", *names).stdout if names else ""
        return {
            entry["Name"]: tuple(
                part["Subnet"]
                for part in (entry.get("IPAM") or {}).get("Config") or ()
                if part.get("Subnet")
            )
            for entry in json.loads(text or "[]")
        }

    def unused_networks(self) -> tuple[str, ...]:
        # Not by `dangling=true`: Engine 20.10 counts every network as that.
        attached = self._ask("ps", "--all", "--format", "{{.Networks}}").replace(",", "\n").split()
        custom = self._names("network", "ls", "--filter=type=custom")
        return tuple(name for name in custom if name not in attached)

    def logs(self, container_id: str, *, tail: int) -> tuple[str, ...]:
        with _docker_needed():
            outcome = process.stream(
                [*self._docker, "logs", "--tail", str(tail), container_id],
                environment=self._environment,
                sink=lambda _: None,
                keep=tail,
            )
        return () if outcome.exit_code else tuple(outcome.stderr.splitlines())[-tail:]

    def stamped_logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: str | None
    ) -> Iterator[tuple[str, str]]:
        options = [*(["--follow"] if follow else []), *(["--since", since] if since else [])]
        options += [] if tail is None else ["--tail", str(tail)]
        argv = [*self._docker, "logs", "--timestamps", *options, container_id]
        stamp, complaint = "", ""
        with _docker_needed():
            for line in process.lines(argv, environment=self._environment):
                head, _, text = line.partition(" ")
                if _STAMP.fullmatch(head):
                    stamp = head
                    yield stamp, text
                elif stamp and not _COMPLAINT.match(line):
                    yield stamp, line  # a carriage return within what the container printed
                else:
                    complaint += line
        going = _GONE.search(complaint) or "marked for removal" in complaint
        if not complaint or stamp or going:
            return
        if since is not None and "invalid value for" in complaint:
            raise SandboxError(
                "usage",
                f"'{since}' is no time and no duration.",
                hints=("Write it like 10m, 2h30m or 2026-01-31T13:00:00Z.",),
            )
        outcome = process.Outcome(argv=tuple(argv), stderr=complaint)
        message = f"docker logs failed: {complaint}"
        raise process.CommandError("engine-failed", message, outcome)

    def execute(self, container_id: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        mark = f"KTRDR_SANDBOX_EXEC={secrets.token_hex(8)}"
        self._executing[mark] = container_id
        try:
            outcome = self._run("exec", "--env", mark, container_id, *argv, timeout=timeout)
            if outcome.exit_code is None:
                self._end_inside(container_id, mark)
        finally:
            self._executing.pop(mark, None)
        return ExecResult(exit_code=outcome.exit_code, output=outcome.stdout + outcome.stderr)

    def _end_inside(self, container_id: str, mark: str) -> None:
        """End a command that is given up: the engine lets it go on without its client."""
        self._run("exec", "--user=0", container_id, "/bin/sh", "-c", _END_MARKED, "sh", mark)

    def execute_here(self, container_id: str, argv: Sequence[str], *, terminal: bool) -> int:
        streams = ["--interactive", *(["--tty"] if terminal else [])]
        command = [*self._docker, "exec", *streams, container_id, *argv]
        with _docker_needed():
            return process.run_attached(command, environment=self._environment)

    # -- changes -----------------------------------------------------------------------------

    def run_once(
        self, image: str, argv: Sequence[str], *, binds: Mapping[Path, str], uuid: str
    ) -> int:
        arguments = ["run", "--rm", "--network=none", "--user=0:0", f"--label={LABEL_UUID}={uuid}"]
        for source, target in binds.items():
            arguments += ["--mount", f"type=bind,source={source},target={target}"]
        arguments += ["--pull=never", f"--entrypoint={argv[0]}", image, *argv[1:]]
        outcome = self._run(*arguments, timeout=None)
        return 125 if outcome.exit_code is None else outcome.exit_code

    def remove(self, resources: Resources, *, grace: int | None) -> None:
        ids = [container.id for container in resources.containers]
        if ids:
            if grace != 0:
                self.stop(ids, grace=grace)
            self._do("rm", "--force", "--volumes", *ids)
        # Containers hold both, of each other they know nothing.
        until = time.monotonic() + _SETTLING
        removals = [
            run_in_background(functools.partial(self._do, kind, "rm", *names, until=until))
            for kind, names in (("network", resources.networks), ("volume", resources.volumes))
            if names
        ]
        for removal in removals:
            removal.result()

    def stop(self, ids: Sequence[str], *, grace: int | None) -> None:
        # `kill` refuses the whole list's success for one that has ended by itself: no harm.
        self._do(*(["kill"] if grace == 0 else ["stop", *_grace(grace)]), *ids)

    def restart(self, ids: Sequence[str], *, grace: int | None) -> None:
        if ids:
            self._do("restart", *_grace(grace), *ids)

    def join_unnamed(self, container_id: str, network: str, *, links: Sequence[str]) -> None:
        self._do("network", "disconnect", network, container_id)  # is no member: no harm
        options = [f"--link={link}" for link in links]
        outcome = self._run("network", "connect", *options, network, container_id)
        if outcome.exit_code and "no such container" not in outcome.stderr.lower():
            raise engine_failed(outcome, self.address)

    def tag(self, source: str, target: str) -> None:
        self._ask("image", "tag", source, target)

    def untag(self, reference: str) -> None:
        self._do("image", "rm", reference, until=time.monotonic() + _SETTLING)

    def end_commands(self, *, at_once: bool = False) -> None:
        given_up = dict(self._executing)
        process.end_all(at_once=at_once)
        for mark, container_id in given_up.items():
            run_in_background(functools.partial(self._end_inside, container_id, mark))

    # -- how -----------------------------------------------------------------------------------

    def _run(self, *arguments: str, timeout: float | None = _ANSWER_TIME) -> process.Outcome:
        with _docker_needed():
            return process.run(
                [*self._docker, *arguments], environment=self._environment, timeout=timeout
            )

    def _ask(self, *arguments: str) -> str:
        outcome = self._run(*arguments)
        if outcome.exit_code != 0:
            raise engine_failed(outcome, self.address)
        return outcome.stdout

    def _do(self, *arguments: str, until: float = 0.0) -> None:
        """Run a change, again and again `until` then while something still holds what it is about.

        What is gone already is no failure; other refusals are left to be found when the engine is
        asked again, except that it must answer.
        """
        outcome = self._run(*arguments, timeout=None)
        while outcome.exit_code and _HELD.search(outcome.stderr) and time.monotonic() < until:
            time.sleep(0.1)
            outcome = self._run(*arguments, timeout=None)
        if outcome.exit_code:
            error = engine_failed(outcome, self.address)
            if error.code != "engine-failed":
                raise error


@contextmanager
def _docker_needed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise docker_missing() from error


def _grace(seconds: int | None) -> list[str]:
    return [] if seconds is None else ["-t", str(seconds)]
