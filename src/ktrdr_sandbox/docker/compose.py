"""Stacks on a real engine: python-on-whales runs `docker compose`."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ktrdr_sandbox import own_commands, process
from ktrdr_sandbox.docker.engine import Engine, LineSink
from ktrdr_sandbox.docker.environment import PLATFORM_SOCKET
from ktrdr_sandbox.docker.errors import compose_failed, docker_missing, is_progress
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ID_PREFIX
from ktrdr_sandbox.process import KEPT_LINES, Outcome

if TYPE_CHECKING:
    import psutil
    from python_on_whales import DockerClient
    from python_on_whales.components.compose.cli_wrapper import ComposeCLI

    from ktrdr_sandbox.docker.engine import ComposeCall, Versions

T = TypeVar("T")
_Stream = Iterable[tuple[str, bytes]]
"""Lines of the library's `stream_logs=True`, each with the name of its stream."""

EVERY_PROFILE: Final = ("*",)


class ComposeEngine(Engine):
    """The part of an engine that is Compose's. The environment of a command is its call's."""

    def compose_config(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        if not resolve_paths:
            return self._config_as_written(call)
        try:
            return self._captured(call, lambda compose: compose.config(return_json=True), "config")
        except SandboxError as error:
            raise _invalid(error) from error

    def _config_as_written(self, call: ComposeCall) -> dict[str, Any]:
        """With the library's command line alone: its `config` cannot leave paths as they are."""
        argv = [*_argv(self._client(call)), "config", "--format", "json"]
        # Compose looks for files whose paths it leaves as they are from where it is run.
        try:
            outcome = process.run(
                [*argv, "--no-path-resolution"], environment=call.environment, cwd=call.directory
            )
        except OSError as error:
            raise docker_missing() from error
        if outcome.exit_code:
            raise _invalid(compose_failed(outcome, self.address, step=_READING))
        model: dict[str, Any] = json.loads(outcome.stdout)
        return model

    def compose_create(
        self,
        call: ComposeCall,
        *,
        build: Sequence[str],
        progress: LineSink,
        recreate: Sequence[str] = (),
    ) -> None:
        if build:
            self._streamed(
                call, lambda it: it.build(list(build), stream_logs=True), progress, "build", build
            )
        self._streamed(
            call,
            lambda it: it.up(start=False, remove_orphans=True, stream_logs=True),
            progress,
            "up",
            ["--no-start", "--remove-orphans"],
        )
        if recreate:
            self._streamed(
                call,
                lambda it: it.up(
                    list(recreate),
                    start=False,
                    dependencies=False,
                    no_build=True,
                    force_recreate=True,
                    stream_logs=True,
                ),
                progress,
                "up",
                ["--no-start", "--no-deps", "--no-build", "--force-recreate", *recreate],
            )

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        self._streamed(
            call,
            lambda it: it.up(
                list(services),
                detach=True,
                dependencies=False,
                recreate=False,
                no_build=True,
                stream_logs=True,
            ),
            progress,
            "up",
            ["--detach", "--no-deps", "--no-recreate", "--no-build", *services],
        )

    def compose_stop(
        self,
        call: ComposeCall,
        *,
        grace: int | None,
        progress: LineSink,
        services: Sequence[str] = (),
    ) -> None:
        self._streamed(
            replace(call, profiles=EVERY_PROFILE),
            lambda it: it.stop(list(services) or None, timeout=grace, stream_logs=True),
            progress,
            "stop",
            services,
        )

    def compose_run(
        self, call: ComposeCall, service: str, argv: Sequence[str], *, name: str
    ) -> str:
        # Detached, for then its own output is all that its log holds, and an interrupt that ends
        # this process cannot leave it attached to nobody.
        container = self._captured(
            call,
            lambda compose: compose.run(
                service,
                list(argv[1:]),
                detach=True,
                dependencies=False,
                tty=False,
                name=name,
                entrypoint=argv[0],
            ),
            "run",
        )
        return str(container).split()[-1]

    # -- how -----------------------------------------------------------------------------------

    def _client(self, call: ComposeCall) -> DockerClient:
        from python_on_whales import DockerClient  # a quarter of a second

        address = self.address
        return DockerClient(
            context=address.context,
            host=None if address.context else address.host or PLATFORM_SOCKET,
            compose_files=list(call.files),
            compose_env_files=list(call.env_files),
            compose_profiles=list(call.profiles),
            compose_project_name=call.project,
            compose_project_directory=call.directory if call.directory.is_dir() else None,
            client_type="docker",
        )

    def _streamed(
        self,
        call: ComposeCall,
        start: Callable[[ComposeCLI], _Stream],
        progress: LineSink,
        command: str,
        arguments: Sequence[str],
    ) -> None:
        """Run a long command, giving each line of both its streams to `progress`.

        What it complains of at its end is left to the error.
        """
        kept: deque[str] = deque(maxlen=KEPT_LINES)
        held_back: list[str] = []

        def follow(compose: ComposeCLI) -> None:
            for _, line in start(compose):
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                kept.append(text)
                held_back.append(text)
                if is_progress(text):
                    release()
            release()

        def release() -> None:
            for text in held_back:
                progress(text)
            held_back.clear()

        self._captured(call, follow, command, arguments, kept=kept)

    def _captured(
        self,
        call: ComposeCall,
        run: Callable[[ComposeCLI], T],
        command: str,
        arguments: Sequence[str] = (),
        *,
        kept: Iterable[str] = (),
    ) -> T:
        """Have the library run a command in the call's environment.

        `command` and `arguments` are for those who listen to what is run; a failure has the words
        that were. `kept` is what it had printed by then, where the library does not keep it.
        """
        from python_on_whales import ClientNotFoundError, DockerException

        client = self._client(call)

        def work() -> T:
            with process.environment_replaced(call.environment):
                argv = [*_argv(client), command, *arguments]
                with process.started_by_library(argv) as seen:
                    try:
                        result = run(client.compose)
                    except DockerException as error:
                        seen.exit_code = error.return_code
                        outcome = Outcome(
                            argv=tuple(error.docker_command),
                            exit_code=error.return_code,
                            stdout=error.stdout or "",
                            stderr="\n".join(kept) or error.stderr or "",
                        )
                        step = _READING if command == "config" else f"docker compose {command}"
                        failure = compose_failed(outcome, self.address, step=step)
                        if not failure.hints:
                            name = call.project.removeprefix(ID_PREFIX)
                            failure.hints = (f"Then run it again: {own_commands.on(name, 'up')}",)
                        raise failure from error
                    seen.exit_code = 0
                    return result

        try:
            return process.run_interruptibly(work)
        except ClientNotFoundError as error:
            raise docker_missing() from error


_READING: Final = "Reading the Compose file"


def _argv(client: DockerClient) -> list[str]:
    """Everything before the subcommand, by the program's name: PATH of its environment decides."""
    command = client.client_config.docker_compose_cmd
    return ["docker", *(str(part) for part in command[1:])]


def _invalid(error: SandboxError) -> SandboxError:
    if error.code == "compose-failed":
        error.code = "compose-file-invalid"
    return error


OLDEST_COMPOSE: Final = (2, 24, 4)
"""First Compose that has both `!override` and `!reset` (Compose file reference, "Merge")."""


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


def end_orphans(folder: str) -> None:
    """End every Compose command that works with a file in `folder`, which only we have.

    A killed `up` leaves its `docker compose` running, and that would go on making containers.
    """

    def is_ours(found: psutil.Process) -> bool:
        argv = found.cmdline()
        named = any(part.startswith(f"{folder}/") for part in argv)
        return named and "compose" in " ".join(argv[:8])

    process.end_left_over(is_ours, patience=10.0)
