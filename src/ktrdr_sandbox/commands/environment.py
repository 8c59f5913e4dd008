"""An instance's environment handed to others: to a shell, to a program, to a command inside it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.api_address import EnvFile
from ktrdr_sandbox.commands.compose_project import current_values
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import Container
from ktrdr_sandbox.docker.environment import child_environment, engine_variables, foreign
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.exec_process import exec_process
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.shared.layout import shared_variables
from ktrdr_sandbox.state import last_up

_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """What others get of an instance. Holds its secrets.

    `text` is the file as it is. `values` are the file's, the shared folders that it could not hold,
    and the API's address. `strays` are variables of this shell that are another sandbox's.
    """

    instance: Instance
    text: str
    values: Mapping[str, str]
    strays: tuple[str, ...]

    @property
    def unspeakable(self) -> tuple[str, ...]:
        """Keys that no shell takes as a variable's name."""
        return tuple(name for name in self.values if not _SHELL_NAME.fullmatch(name))

    @property
    def exports(self) -> str:
        """Lines for `eval` in a shell."""
        lines = [f"unset {name}" for name in self.strays if _SHELL_NAME.fullmatch(name)]
        lines += [
            f"export {name}={shlex.quote(value)}"
            for name, value in self.values.items()
            if _SHELL_NAME.fullmatch(name)
        ]
        return "\n".join(lines) + "\n"


def handout(context: Context, instance: Instance) -> Handout:
    """Raises `env-file-damaged`, `cannot-write`, `no-such-instance`."""
    values = current_values(context, instance)
    aim = {"KTRDR_API_URL": EnvFile(instance.env_file, values).url}
    values = {**shared_variables(context.home), **values, **aim}
    return Handout(
        instance=instance,
        text=instance.env_file.read_text(encoding="utf-8"),
        values=values,
        strays=tuple(sorted(name for name in foreign(context.environment) if name not in values)),
    )


def run_with(context: Context, instance: Instance, argv: Sequence[str]) -> NoReturn:
    """Become that program, in the current directory, with the instance's environment.

    It gets what Compose gets, the API's address, and the instance's own engine for `docker`. Raises
    `command-not-found`, `command-not-executable`, and as `handout`.
    """
    environment = child_environment(
        context.environment, address=instance.engine, file_values=handout(context, instance).values
    )
    try:
        exec_process(argv, environment=environment | engine_variables(instance.engine))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SandboxError(
            "command-not-found",
            f"{argv[0]}: no such command.",
            details={"command": argv[0], "errno": error.errno},
        ) from error
    except OSError as error:
        raise SandboxError(
            "command-not-executable",
            f"{argv[0]} cannot be executed: {error.strerror}.",
            details={"command": argv[0], "errno": error.errno},
        ) from error


def run_inside(
    context: Context, instance: Instance, service: str, argv: Sequence[str], *, terminal: bool
) -> int:
    """Run a command in the service's running container, with this program's own streams.

    Gives its exit status. Raises `no-such-service`, `service-not-running`.
    """
    engine = context.engine(instance.engine)
    found = [c for c in engine.containers(uuid=instance.uuid) if not c.oneoff]
    container = _running(context, instance, service, found)
    return engine.execute_here(container.id, argv, terminal=terminal)


def _running(
    context: Context, instance: Instance, service: str, found: Sequence[Container]
) -> Container:
    """The service's first container that runs."""
    own = sorted(
        (c for c in found if c.service == service), key=lambda c: (len(c.name), c.name)
    )  # `-2` before `-10`
    for container in own:
        if container.state == "running":
            return container
    known = sorted({*last_up.load(context.home, instance).services, *(c.service for c in found)})
    running = sorted({c.service for c in found if c.state == "running"})
    details = {"instance": instance.id, "services": known, "running": running}
    start = f"Start it: {own_commands.on(instance.name, 'up')}"
    if not running:
        raise SandboxError(
            "service-not-running",
            f"Nothing of {instance.id} is running.",
            hints=(start,),
            details=details,
        )
    if service not in known:
        raise SandboxError(
            "no-such-service",
            f"{instance.id} has no service '{service}'. Running: {', '.join(running)}.",
            details=details,
        )
    state = own[0].state if own else "no container"
    raise SandboxError(
        "service-not-running",
        f"{service} of {instance.id} is not running ({state}). Running: {', '.join(running)}.",
        hints=(
            *([f"See why: {own_commands.logs(instance.name, service)}"] if own else []),
            start,
        ),
        details=details,
    )
