"""Stacks on a real engine: python-on-whales runs `docker compose`."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ktrdr_sandbox import own_commands, process
from ktrdr_sandbox.docker.engine import ComposeCall, Engine, LineSink, Versions
from ktrdr_sandbox.docker.environment import PLATFORM_SOCKET
from ktrdr_sandbox.docker.errors import compose_failed, docker_missing, is_progress
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import ID_PREFIX

if TYPE_CHECKING:
    import psutil
    from python_on_whales import DockerClient
    from python_on_whales.components.compose.cli_wrapper import ComposeCLI

T = TypeVar("T")

_READING: Final = "Reading the Compose file"


class ComposeEngine(Engine):
    """The part of an engine that is Compose's. The environment of a command is its call's."""

    def compose_config(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        try:
            if resolve_paths:
                return self._call(call, lambda it: it.config(return_json=True), "config")
            return self._config_as_written(call)
        except SandboxError as error:
            if error.code == "compose-failed":
                error.code = "compose-file-invalid"
            raise

    def _config_as_written(self, call: ComposeCall) -> dict[str, Any]:
        """With the library's command line alone: its `config` cannot leave paths as they are."""
        options = ["config", "--format", "json", "--no-path-resolution"]
        argv = [*_argv(self._client(call)), *options]
        # Compose looks for files whose paths it leaves as they are from where it is run.
        try:
            outcome = process.run(argv, environment=call.environment, cwd=call.directory)
        except OSError as error:
            raise docker_missing() from error
        if outcome.exit_code:
            raise compose_failed(outcome, self.address, step=_READING)
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
            self._stream(call, progress, "build", *build, services=list(build))
        options: dict[str, Any] = {"start": False, "remove_orphans": True}
        self._stream(call, progress, "up", "--no-start", "--remove-orphans", **options)
        if recreate:
            words = ["--no-start", "--no-deps", "--no-build", "--force-recreate", *recreate]
            options = {"start": False, "dependencies": False, "no_build": True}
            options |= {"force_recreate": True, "services": list(recreate)}
            self._stream(call, progress, "up", *words, **options)

    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        words = ["--detach", "--no-deps", "--no-recreate", "--no-build", *services]
        options: dict[str, Any] = {"detach": True, "dependencies": False, "recreate": False}
        options |= {"no_build": True, "services": list(services)}
        # The migration's container is no service of the file, and no orphan either.
        environment = {**call.environment, "COMPOSE_IGNORE_ORPHANS": "true"}
        self._stream(replace(call, environment=environment), progress, "up", *words, **options)

    def compose_stop(
        self,
        call: ComposeCall,
        *,
        grace: int | None,
        progress: LineSink,
        services: Sequence[str] = (),
    ) -> None:
        options = {"services": list(services) or None, "timeout": grace}
        self._stream(replace(call, profiles=("*",)), progress, "stop", *services, **options)

    def compose_run(
        self, call: ComposeCall, service: str, argv: Sequence[str], *, name: str
    ) -> str:
        # Detached, for then its own output is all that its log holds, and an interrupt that ends
        # this process cannot leave it attached to nobody.
        options: dict[str, Any] = {"detach": True, "dependencies": False, "tty": False}
        options |= {"name": name, "entrypoint": argv[0]}
        it = self._call(call, lambda it: it.run(service, list(argv[1:]), **options), "run")
        return str(it).split()[-1]

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

    def _stream(
        self, call: ComposeCall, progress: LineSink, command: str, *words: str, **options: Any
    ) -> None:
        """Run a long command, giving each line of both its streams to `progress`.

        `words` are the `options` as listeners are told of them. What the command complains of at
        its end is left to the error.
        """
        kept: deque[str] = deque(maxlen=process.KEPT_LINES)

        def follow(compose: ComposeCLI) -> None:
            held_back: list[str] = []
            for _, line in getattr(compose, command)(stream_logs=True, **options):
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                kept.append(text)
                held_back.append(text)
                if is_progress(text):
                    for one in held_back:
                        progress(one)
                    held_back.clear()
            for one in held_back:
                progress(one)

        self._call(call, follow, command, *words, kept=kept)

    def _call(
        self,
        call: ComposeCall,
        run: Callable[[ComposeCLI], T],
        command: str,
        *words: str,
        kept: Iterable[str] = (),
    ) -> T:
        """Have the library run a command in the call's environment.

        `kept` is what a command had printed when it failed, where the library does not keep it.
        """
        from python_on_whales import ClientNotFoundError, DockerException

        client = self._client(call)

        def work() -> T:
            argv = [*_argv(client), command, *words]
            with (
                process.environment_replaced(call.environment),
                process.started_by_library(argv) as seen,
            ):
                try:
                    result = run(client.compose)
                except DockerException as error:
                    seen.exit_code = error.return_code
                    outcome = process.Outcome(
                        argv=tuple(error.docker_command),
                        exit_code=error.return_code,
                        stdout=error.stdout or "",
                        stderr="\n".join(kept) or error.stderr or "",
                    )
                    step = _READING if command == "config" else f"docker compose {command}"
                    failure = compose_failed(outcome, self.address, step=step)
                    if not failure.hints:
                        again = own_commands.on(call.project.removeprefix(ID_PREFIX), "up")
                        failure.hints = (f"Then run it again: {again}",)
                    raise failure from error
                seen.exit_code = 0
                return result

        try:
            return process.run_interruptibly(work)
        except ClientNotFoundError as error:
            raise docker_missing() from error


def _argv(client: DockerClient) -> list[str]:
    """Everything before the subcommand, by the program's name: PATH of its environment decides."""
    command = client.client_config.docker_compose_cmd
    return ["docker", *(str(part) for part in command[1:])]


def require_compose(versions: Versions) -> None:
    """Raises `compose-too-old` for one without both `!override` and `!reset` (Compose file
    reference, "Merge")."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", versions.compose)[:3])
    if numbers < (2, 24, 4):
        raise SandboxError(
            "compose-too-old",
            f"Docker Compose {versions.compose} is too old: 2.24.4 or newer is needed.",
            hints=("Upgrade the Compose plugin: https://docs.docker.com/compose/install/",),
            details={"found": versions.compose, "needed": "2.24.4"},
        )


def end_orphans(folder: str) -> None:
    """End every Compose command that works with a file in `folder`, which only we have.

    A killed `up` leaves its `docker compose` running, and that would go on making containers.
    """

    def is_ours(found: psutil.Process) -> bool:
        argv = found.cmdline()
        is_named = any(part.startswith(f"{folder}/") for part in argv)
        return is_named and "compose" in " ".join(argv[:8])

    process.end_left_over(is_ours, patience=10.0)
