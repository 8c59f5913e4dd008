"""Stacks on a real engine, by `docker compose`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ktrdr_sandbox.docker import process
from ktrdr_sandbox.docker.engine import Engine, LineSink
from ktrdr_sandbox.docker.errors import compose_failed
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress

if TYPE_CHECKING:
    from ktrdr_sandbox.docker.engine import ComposeCall, Versions


def compose_argv(address: EngineAddress, call: ComposeCall) -> list[str]:
    """Everything before the subcommand, as python-on-whales writes it for its own calls.

    Only its command builder serves here: its runner takes no environment for Compose calls and
    loses the error stream of long ones (docs/dependencies.md). Raises `docker-missing`.
    """
    from python_on_whales import ClientNotFoundError, DockerClient  # a quarter of a second

    from ktrdr_sandbox.docker.environment import PLATFORM_SOCKET
    from ktrdr_sandbox.docker.process import docker_missing

    client = DockerClient(
        context=address.context,
        host=None if address.context else address.host or PLATFORM_SOCKET,
        compose_files=list(call.files),
        compose_env_files=list(call.env_files),
        compose_profiles=list(call.profiles),
        compose_project_name=call.project,
        compose_project_directory=call.directory,
        client_type="docker",
    )
    try:
        command = client.client_config.docker_compose_cmd
    except ClientNotFoundError as error:
        raise docker_missing() from error
    # The program's name, not the path that was found: PATH of the built environment decides.
    return ["docker", *(str(part) for part in command[1:])]


OLDEST_COMPOSE: Final = (2, 24, 4)
"""First Compose that has both `!override` and `!reset` (Compose file reference, "Merge")."""


class ComposeEngine(Engine):
    """The part of an engine that is Compose's. The environment of a command is its call's."""

    def compose_config(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        argv = [*compose_argv(self.address, call), "config"]
        argv += ["--format", "json", *([] if resolve_paths else ["--no-path-resolution"])]
        # Compose looks for files whose paths it leaves as they are from where it is run.
        outcome = process.run(argv, environment=call.environment, cwd=call.directory)
        if outcome.exit_code:
            raise self._invalid(outcome)
        model = json.loads(outcome.stdout)
        if not isinstance(model, dict):
            raise self._invalid(outcome)
        return model

    def _invalid(self, outcome: process.Outcome) -> SandboxError:
        error = compose_failed(outcome, self.address, step="Reading the Compose file")
        if error.code == "compose-failed":
            error.code = "compose-file-invalid"
        return error

    def compose_create(
        self,
        call: ComposeCall,
        *,
        build: Sequence[str],
        progress: LineSink,
        recreate: Sequence[str] = (),
    ) -> None:
        if build:
            self._compose(call, ["build", *build], progress, step="docker compose build")
        create = ["up", "--no-start", "--remove-orphans"]
        self._compose(call, create, progress, step="docker compose up")
        if recreate:
            anew = ["up", "--no-start", "--no-deps", "--no-build", "--force-recreate", *recreate]
            self._compose(call, anew, progress, step="docker compose up")

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        arguments = ["up", "--detach", "--no-deps", "--no-recreate", "--no-build", *services]
        self._compose(call, arguments, progress, step="docker compose up")

    def _compose(
        self, call: ComposeCall, arguments: Sequence[str], progress: LineSink, *, step: str
    ) -> None:
        argv = compose_argv(self.address, call)
        plain = [*argv[: argv.index("compose") + 1], "--progress", "plain"]
        argv = [*plain, *argv[argv.index("compose") + 1 :], *arguments]
        outcome = process.stream(argv, environment=call.environment, sink=progress)
        if outcome.exit_code:
            raise compose_failed(outcome, self.address, step=step)

    def compose_run(
        self, call: ComposeCall, service: str, argv: Sequence[str], *, name: str
    ) -> str:
        # Detached, for then its own output is all that its log holds, and an interrupt that ends
        # this process cannot leave it attached to nobody.
        options = ["run", "--detach", "--no-deps", "-T", "--name", name, "--entrypoint", argv[0]]
        outcome = process.run(
            [*compose_argv(self.address, call), *options, service, *argv[1:]],
            environment=call.environment,
        )
        if outcome.exit_code:
            raise compose_failed(outcome, self.address, step="docker compose run")
        return outcome.stdout.split()[-1]


def require_compose(versions: Versions) -> None:
    """Raises `compose-too-old` when the override's tags would not be understood."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", versions.compose)[:3])
    if numbers < OLDEST_COMPOSE:
        wanted = ".".join(str(part) for part in OLDEST_COMPOSE)
        raise SandboxError(
            "compose-too-old",
            f"Docker Compose {versions.compose} is too old: {wanted} or newer is needed.",
            hints=("Upgrade the Compose plugin: https://docs.docker.com/compose/install/",),
            details={"found": versions.compose, "needed": wanted},
        )
