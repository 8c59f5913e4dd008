"""Where every Compose command line begins, so that up, down, logs and config can never differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ktrdr_sandbox.models import EngineAddress

if TYPE_CHECKING:
    from ktrdr_sandbox.engine.records import ComposeCall

EVERY_PROFILE: Final = ("*",)


def compose_argv(
    address: EngineAddress, call: ComposeCall, *, profiles: tuple[str, ...] | None = None
) -> list[str]:
    """Everything before the subcommand, as python-on-whales writes it for its own calls.

    Only its command builder serves here: its runner takes no environment for Compose calls and
    loses the error stream of long ones (docs/dependencies.md). Raises `docker-missing`.
    """
    from python_on_whales import ClientNotFoundError, DockerClient  # a quarter of a second

    from ktrdr_sandbox.engine.address import PLATFORM_SOCKET
    from ktrdr_sandbox.engine.process import docker_missing

    client = DockerClient(
        context=address.context,
        host=None if address.context else address.host or PLATFORM_SOCKET,
        compose_files=list(call.files),
        compose_env_files=list(call.env_files),
        compose_profiles=list(call.profiles if profiles is None else profiles),
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
