"""What Docker's and Compose's error texts mean. The texts were seen with Engine 20.10 to 28."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.process import CommandError, Outcome

_NOT_ANSWERING: Final = (
    r"cannot connect to the docker daemon|is the docker daemon running|error during connect"
    r"|failed to connect to the docker api|connection refused.*docker|permission denied while "
    r"trying to connect|context .* (does not exist|not found)|unable to resolve docker endpoint"
)
_NO_COMPOSE: Final = (
    r"'compose' is not a docker command|unknown command: docker compose"
    r"|unknown (?:shorthand )?flag: .*\n+(?:see 'docker --help'|usage:  docker \[options\])"
)
_PORT_TAKEN: Final = (
    r"(?:bind for [^ ]*?:(?P<a>\d+) failed: port is already allocated"
    r"|listen (?:tcp|udp)\d? [^ ]*?:(?P<b>\d+): bind: address already in use"
    r"|exposing port (?:tcp|udp) [^ ]*?:(?P<c>\d+) ->"
    r"|failed to bind host port (?:for )?[^ ]*?:(?P<d>\d+)[:/])"
)
_NO_IMAGE: Final = (
    r"pull access denied|manifest (?:for .* )?(?:unknown|not found)|no such image"
    r"|repository does not exist|failed to resolve reference|get \"?https?://[^ ]*/v2/"
    r"|failed to do request"
)
_OLD_BUILDX: Final = r"compose build requires buildx .*or later|buildx.* is too old"
_SNAP: Final = r"open (?P<path>/\S*/\.\S+): (?:permission denied|no such file or directory)"
_NO_FILE: Final = r"bind source path does not exist|env file .* not found"
_NO_SUBNET: Final = (
    r"could not find an available, non-overlapping ipv4 address pool"
    r"|all predefined address pools have been fully subnetted"
)
_PROGRESS: Final = re.compile(
    r"(?!.*\bError\b)\s*(?:$|#\d+ |=> |\[\+\]|(?:Container|Network|Volume|Image|Service) \S"
    r"|[0-9a-f]{12} |\S+ (?:Pulling|Pulled|Building|Built|Skipped|Interrupted)\b"
    r"|Step \d+/\d+|---> |Sending build context)"
)
"""Lines in which Compose and BuildKit tell what they do; in others they tell what is wrong."""


def is_progress(line: str) -> bool:
    """Whether a line of a long command only tells how far it is."""
    return _PROGRESS.match(line) is not None


def not_answering(address: EngineAddress, said: str) -> SandboxError:
    """The engine at that address gives no answer, or refuses this user."""
    hint = "Start Docker, or check that it runs: docker info"
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "docker.sock")
    if "podman" in address.label:
        hint = "That is Podman's socket; it is started by: systemctl --user start podman.socket"
    elif rootless.exists() and str(rootless) not in address.label:
        hint = f"A rootless Docker listens elsewhere; use it: export DOCKER_HOST=unix://{rootless}"
    elif "permission denied" in said.lower():
        hint = "Your user may not use Docker: sudo usermod -aG docker $USER, then log in again."
    reason = said.strip() or "no answer in time"
    if reason.lower().startswith("cannot connect to the docker daemon"):
        reason = "nothing listens there"
    return SandboxError(
        "docker-not-answering",
        f"Docker does not answer at {address.label}: {reason}",
        hints=(hint,),
        details={"context": address.context, "host": address.host},
    )


def docker_missing() -> SandboxError:
    return SandboxError(
        "docker-missing",
        "The docker command was not found on PATH.",
        hints=("Install Docker: https://docs.docker.com/engine/install/",),
    )


def compose_missing() -> SandboxError:
    return SandboxError(
        "compose-missing",
        "Docker is there, but it has no 'docker compose' command.",
        hints=("Install the Compose plugin: https://docs.docker.com/compose/install/",),
    )


def engine_failed(outcome: Outcome, address: EngineAddress) -> SandboxError:
    """The error for a plain Docker command that should have succeeded."""
    first = next(iter(outcome.text.splitlines()), "")
    if outcome.exit_code is None or _found(_NOT_ANSWERING, outcome.text):
        return not_answering(address, first)
    return _failed(outcome, "engine-failed", _told("Docker", outcome, first))


def compose_failed(outcome: Outcome, address: EngineAddress, *, step: str) -> SandboxError:
    """The error for a Compose command, told apart as far as its text allows."""
    text = outcome.text
    # Before the engine itself is suspected: Compose reports what it cancelled on the first failure
    # as `error during connect` too.
    if match := _found(_PORT_TAKEN, text):
        port = int(next(group for group in match.groups() if group))
        hint = f"Use 'lsof -i :{port}' to identify the process."
        error = _failed(outcome, "port-conflict", f"Port {port} is already in use.", hint)
        error.details["ports"] = [{"port": port, "protocol": "tcp", "holder": ""}]
        return error
    if match := _found(_NO_SUBNET, text):
        return _failed(
            outcome,
            "network-pool-exhausted",
            f"Docker has no free subnet for one more network: {match[0]}.",
            "Remove networks that nobody uses: docker network ls",
            "Or give each slot its own small subnet: KTRDR_SANDBOX_NETWORK_POOL=10.201.0.0/16",
        )
    if match := _found(_NO_IMAGE, text):
        message = f"An image is not here and could not be pulled: {_line_with(match)}"
        hint = "Check the image's name and your registry login."
        return _failed(outcome, "image-missing", message, hint)
    if match := _found(_NO_FILE, text):
        return _failed(
            outcome,
            "compose-failed",
            f"A file is missing: {_line_with(match)}",
            "A file that git ignores comes along with 'create' when .worktreeinclude or the "
            "setting copy_files names it; else make it, or change the Compose file.",
        )
    if _found(_NOT_ANSWERING, text):
        return not_answering(address, text.strip().splitlines()[0])
    if _found(_NO_COMPOSE, text):
        return compose_missing()
    return _failed(outcome, "compose-failed", _told(step, outcome, _complaint(text)), *_hints(text))


def _hints(text: str) -> Iterator[str]:
    if _found(_OLD_BUILDX, text):
        yield "Upgrade Docker's buildx plugin: https://github.com/docker/buildx#installing"
    docker = shutil.which("docker") or ""
    if _found(_SNAP, text) and os.path.realpath(docker).startswith("/snap/"):
        yield (
            "Docker from a snap cannot read hidden folders: set KTRDR_HOME to a folder in your "
            "home whose name has no dot, or install Docker's own package."
        )


def _found(pattern: str, text: str) -> re.Match[str] | None:
    # Compiled (and kept by `re`) once something has failed, which it seldom has.
    return re.search(pattern, text, re.IGNORECASE)


def _failed(outcome: Outcome, code: ErrorCode, message: str, *hints: str) -> CommandError:
    details = {"output": outcome.text[-4000:]}
    return CommandError(code, message, outcome, hints=hints, details=details)


def _told(step: str, outcome: Outcome, text: str) -> str:
    status = f"exit status {outcome.exit_code}" if outcome.exit_code is not None else ""
    said = text.strip("\r") or "it gave no reason"
    return f"{step} failed ({status or 'ran out of time'}): {said}"


def _complaint(text: str) -> str:
    """The last lines, without those that only tell of progress."""
    lines = [line for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not is_progress(line)] or lines
    if len(lines) <= 1:
        return lines[0].strip() if lines else ""
    return "\n" + "\n".join(f"  {line}" for line in lines[-12:])


def _line_with(match: re.Match[str]) -> str:
    text = match.string
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[start : end if end >= 0 else len(text)].strip()
