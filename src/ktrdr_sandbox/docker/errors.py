"""What Docker's and Compose's error texts mean. The texts were seen with Engine 20.10 to 28."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ktrdr_sandbox.errors import CommandError, ErrorCode, SandboxError
from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.process import Outcome

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
_NO_FILE: Final = r"bind source path does not exist|env file .* not found"
_NO_SUBNET: Final = (
    r"could not find an available, non-overlapping ipv4 address pool"
    r"|all predefined address pools have been fully subnetted"
)


_BRING_FILE: Final = (
    "A file that git ignores comes along with 'create' when .worktreeinclude or the setting "
    "copy_files names it; else make it, or change the Compose file."
)


def _found(pattern: str, text: str) -> re.Match[str] | None:
    # Compiled (and kept by `re`) once something has failed, which it seldom has.
    return re.search(pattern, text, re.IGNORECASE)


def not_answering(address: EngineAddress, said: str) -> SandboxError:
    """The engine at that address gives no answer, or refuses this user."""
    hints = ["Start Docker, or check that it runs: docker info"]
    if "permission denied" in said.lower():
        hints = ["Your user may not use Docker: sudo usermod -aG docker $USER, then log in again."]
    reason = "no answer in time" if not said.strip() else said.strip()
    if reason.lower().startswith("cannot connect to the docker daemon"):
        reason = "nothing listens there"
    return SandboxError(
        "docker-not-answering",
        f"Docker does not answer at {address.label}: {reason}",
        hints=hints,
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
    if outcome.exit_code is None or _found(_NOT_ANSWERING, outcome.text):
        return not_answering(address, _first_line(outcome.text))
    return _failed("engine-failed", "Docker", outcome, _first_line(outcome.text))


def compose_failed(outcome: Outcome, address: EngineAddress, *, step: str) -> SandboxError:
    """The error for a Compose command, told apart as far as its text allows."""
    text = outcome.text
    # Before the engine itself is suspected: Compose reports what it cancelled on the first failure
    # as `error during connect` too.
    for pattern, make in _KINDS:
        match = _found(pattern, text)
        if match:
            return make(outcome, match)
    if _found(_NOT_ANSWERING, text):
        return not_answering(address, _first_line(text))
    if _found(_NO_COMPOSE, text):
        return compose_missing()
    return _failed("compose-failed", step, outcome, _last_lines(text))


def _port_taken(outcome: Outcome, match: re.Match[str]) -> SandboxError:
    port = int(next(group for group in match.groups() if group))
    error = _failed("port-conflict", "Port", outcome, "", message=f"Port {port} is already in use.")
    error.details["ports"] = [{"port": port, "protocol": "tcp", "holder": ""}]
    error.hints = (f"Use 'lsof -i :{port}' to identify the process.",)
    return error


def _image_missing(outcome: Outcome, match: re.Match[str]) -> SandboxError:
    line = _line_with(outcome.text, match)
    error = _failed(
        "image-missing",
        "Image",
        outcome,
        "",
        message=f"An image is not here and could not be pulled: {line}",
    )
    error.hints = ("Check the image's name and your registry login.",)
    return error


def _no_subnet(outcome: Outcome, match: re.Match[str]) -> SandboxError:
    error = _failed(
        "network-pool-exhausted",
        "Network",
        outcome,
        "",
        message="Docker has no free subnet for one more network: " + match.group(0) + ".",
    )
    error.hints = (
        "Remove networks that nobody uses: docker network ls",
        "Or give each slot its own small subnet: KTRDR_SANDBOX_NETWORK_POOL=10.201.0.0/16",
    )
    return error


def _file_missing(outcome: Outcome, match: re.Match[str]) -> SandboxError:
    line = _line_with(outcome.text, match)
    error = _failed("compose-failed", "Compose", outcome, "", message=f"A file is missing: {line}")
    error.hints = (_BRING_FILE,)
    return error


_KINDS: Final[tuple[tuple[str, Callable[[Outcome, re.Match[str]], SandboxError]], ...]] = (
    (_PORT_TAKEN, _port_taken),
    (_NO_SUBNET, _no_subnet),
    (_NO_IMAGE, _image_missing),
    (_NO_FILE, _file_missing),
)


def _failed(
    code: ErrorCode, step: str, outcome: Outcome, said: str, *, message: str = ""
) -> CommandError:
    status = "ran out of time" if outcome.exit_code is None else f"exit status {outcome.exit_code}"
    return CommandError(
        code,
        message or f"{step} failed ({status}): {said or 'it gave no reason'}",
        argv=outcome.argv,
        exit_code=outcome.exit_code,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
        details={"output": outcome.text[-4000:]},
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _last_lines(text: str, count: int = 12) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) <= 1:
        return lines[0] if lines else ""
    return "\n" + "\n".join(f"  {line}" for line in lines[-count:])


def _line_with(text: str, match: re.Match[str]) -> str:
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[start : end if end >= 0 else len(text)].strip()
