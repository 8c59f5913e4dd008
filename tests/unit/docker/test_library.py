"""Why some calls do not go through python-on-whales: each reason, until it is gone."""

from __future__ import annotations

import inspect

import pytest
from python_on_whales.components.compose.cli_wrapper import ComposeCLI


def parameters(method: str) -> set[str]:
    return set(inspect.signature(getattr(ComposeCLI, method)).parameters)


@pytest.mark.parametrize("wanted", [{"resolve_paths", "path_resolution", "no_path_resolution"}])
def test_config_always_resolves_paths(wanted: set[str]) -> None:
    assert not parameters("config") & wanted


def test_compose_commands_take_no_environment() -> None:
    for method in ("config", "build", "up", "stop"):
        assert not parameters(method) & {"env", "environment"}


def test_create_cannot_remove_orphans_and_prints_its_command_line() -> None:
    assert "remove_orphans" not in parameters("create")
    assert "print(full_cmd)" in inspect.getsource(ComposeCLI.create)


def test_ps_gives_objects_that_are_inspected_one_by_one() -> None:
    assert "Container(" in inspect.getsource(ComposeCLI.ps)


def test_logs_are_those_of_services() -> None:
    assert not parameters("logs") & {"container", "index"}


def test_what_we_call_is_there() -> None:
    wanted = {"start", "remove_orphans", "dependencies", "no_build", "force_recreate", "recreate"}
    assert parameters("up") >= {"services", "detach", "stream_logs", *wanted}
    assert parameters("build") >= {"services", "stream_logs"}
    assert parameters("stop") >= {"services", "timeout", "stream_logs"}
    assert parameters("run") >= {"detach", "dependencies", "tty", "name", "entrypoint"}
