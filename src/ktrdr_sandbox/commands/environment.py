"""An instance's environment handed to a shell, a program, a command inside it, a browser."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.api_address import URL_VARIABLE, api_url, tool_addresses
from ktrdr_sandbox.commands.compose_project import current_values
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.environment import child_environment, engine_variables, foreign
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.exec_process import exec_process
from ktrdr_sandbox.gate.http import published_address, shown_url
from ktrdr_sandbox.isolation.model import natural
from ktrdr_sandbox.models import Instance, Role
from ktrdr_sandbox.shared.layout import shared_variables
from ktrdr_sandbox.state import last_up

TOOLS: Final[Mapping[str, Role]] = {
    "api": "backend",
    "grafana": "grafana",
    "jaeger": "jaeger_ui",
    "prometheus": "prometheus",
}
"""What `open` takes, with the role of its port."""

SHELL: Final = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATIENCE: Final = 2.0  # seconds for a connection to this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEnvironment:
    """What others get of an instance. Holds its secrets.

    `text` is the file as it is. `values` are the file's, the shared folders that it could not hold,
    and the API's address. `leaked` are variables of this shell that are another sandbox's.
    """

    instance: Instance
    text: str
    values: Mapping[str, str]
    leaked: tuple[str, ...]

    @property
    def invalid_names(self) -> tuple[str, ...]:
        """Keys that no shell takes as a variable's name."""
        return tuple(name for name in self.values if not _SHELL_NAME.fullmatch(name))

    @property
    def exports(self) -> str:
        """Lines for `eval` in a shell."""
        lines = [f"unset {name}" for name in self.leaked if _SHELL_NAME.fullmatch(name)]
        lines += [
            f"export {name}={shlex.quote(value)}"
            for name, value in self.values.items()
            if _SHELL_NAME.fullmatch(name)
        ]
        return "\n".join(lines) + "\n"


def environment_of(context: Context, instance: Instance) -> InstanceEnvironment:
    """Raises `env-file-damaged`, `cannot-write`, `no-such-instance`."""
    values = current_values(context, instance)
    aim = {URL_VARIABLE: api_url(instance.env_file, values)}
    values = {**shared_variables(context.home), **values, **aim}
    return InstanceEnvironment(
        instance=instance,
        text=instance.env_file.read_text(encoding="utf-8"),
        values=values,
        leaked=tuple(sorted(name for name in foreign(context.environment) if name not in values)),
    )


def run_with(context: Context, instance: Instance, argv: Sequence[str]) -> NoReturn:
    """Become that program, in the current directory, with the instance's environment.

    It gets what Compose gets, the addresses of the API and of the tools as this machine sees them,
    and the instance's own engine for `docker`. Raises `command-not-found`,
    `command-not-executable`, and as `environment_of`.
    """
    values = environment_of(context, instance).values
    environment = child_environment(
        context.environment,
        address=instance.engine,
        file_values={**values, **tool_addresses(values)},
    )
    program = argv[0]
    try:
        exec_process(argv, environment=environment | engine_variables(instance.engine))
    except OSError as error:
        details = {"command": program, "errno": error.errno}
        code: ErrorCode = "command-not-executable"
        message = f"{program} cannot be executed: {error.strerror}."
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            code, message = "command-not-found", f"{program}: no such command."
        raise SandboxError(code, message, details=details) from error


def run_inside(
    context: Context, instance: Instance, service: str, argv: Sequence[str], *, terminal: bool
) -> int:
    """Run a command in the service's running container, with this program's own streams.

    Gives its exit status. Raises `no-such-service`, `service-not-running`.
    """
    engine = context.engine(instance.engine)
    found = [c for c in engine.containers(uuid=instance.uuid) if not c.oneoff]
    own = sorted((c for c in found if c.service == service), key=lambda c: natural(c.name))
    for container in own:
        if container.state == "running":
            return engine.execute_here(container.id, argv, terminal=terminal)
    known = sorted({*last_up.load(context.home, instance).services, *(c.service for c in found)})
    running = sorted({c.service for c in found if c.state == "running"})
    code: ErrorCode = "service-not-running"
    hints = [f"Start it: {own_commands.on(instance.name, 'up')}"]
    if not running:
        message = f"Nothing of {instance.id} is running."
    elif service not in known:
        code, hints = "no-such-service", []
        message = f"{instance.id} has no service '{service}'. Running: {', '.join(running)}."
    else:
        state = own[0].state if own else "no container"
        message = f"{service} of {instance.id} is not running ({state})."
        message += f" Running: {', '.join(running)}."
        if own:
            hints.insert(0, f"See why: {own_commands.logs(instance.name, service)}")
    details = {"instance": instance.id, "services": known, "running": running}
    raise SandboxError(code, message, hints=hints, details=details)


def backend_of(context: Context, instance: Instance) -> str:
    """The service that is the backend, by the last `up`; `backend` where that tells none."""
    ports = last_up.load(context.home, instance).ports
    return next((port.service for port in ports if port.role == "backend"), "backend")


def page(context: Context, instance: Instance, tool: str) -> tuple[str, str]:
    """The service and the address of a tool of the last `up`, once something answers there.

    Raises `usage`, `no-such-service`, `service-not-running`.
    """
    if tool not in TOOLS:
        raise SandboxError("usage", f"There is no tool '{tool}'. Tools: {', '.join(TOOLS)}.")
    kept = last_up.load(context.home, instance)
    start = f"Start it: {own_commands.on(instance.name, 'up')}"
    if not kept.ports:
        raise SandboxError(
            "service-not-running",
            f"{instance.id} has not been started in this slot.",
            hints=(start,),
            details={"instance": instance.id},
        )
    ports = {port.role: port for port in reversed(kept.ports) if port.service in kept.services}
    there = [name for name, role in TOOLS.items() if role in ports]
    port = ports.get(TOOLS[tool])
    if port is None:
        raise SandboxError(
            "no-such-service",
            f"The stack of {instance.id} has no {tool}. It has: {', '.join(there) or 'none'}.",
            details={"instance": instance.id, "tool": tool, "tools": there},
        )
    url = shown_url(port, "")
    try:
        socket.create_connection((published_address(port), port.published), _PATIENCE).close()
    except OSError:
        raise SandboxError(
            "service-not-running",
            f"Nothing answers at {url}, where {port.service} of {instance.id} belongs.",
            hints=(start,),
            details={"instance": instance.id, "tool": tool, "url": url},
        ) from None
    return port.service, url
