"""The modern pair: where it is, how it is reached, and that it says when it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.engine import Engine
from tests.lab.errors import EXIT_UNAVAILABLE, HostError
from tests.lab.laboratory import Laboratory
from tests.lab.modern import ModernEngine
from tests.support.processes import as_no_root


def pair(folder: Path, **variables: str) -> tuple[Engine, ModernEngine]:
    env = {"PATH": os.environ["PATH"], "KTRDR_LAB_ENGINE_ROOT": str(folder / "first"), **variables}
    first = Engine.chosen(env)
    return first, ModernEngine.beside(first, cache=folder / "cache", clone=folder)


def test_it_shares_nothing_with_the_first_engine(tmp_path: Path) -> None:
    first, modern = pair(tmp_path, DOCKER_CONTEXT="somewhere")
    for name in ("state", "socket", "pidfile", "data"):
        assert getattr(first, name) != getattr(modern, name)
    assert modern.env["DOCKER_HOST"] == f"unix://{modern.socket}"
    assert "DOCKER_CONTEXT" not in modern.env
    assert modern.env["PATH"].split(":")[0] == str(modern.home / "bin")


def test_commands_run_in_its_network(tmp_path: Path) -> None:
    _, modern = pair(tmp_path)
    assert modern.within(["docker", "ps"]) == [
        *("nsenter", f"--net=/run/netns/{modern.network}", "docker", "ps")
    ]
    assert len(modern.network) < 20


def test_without_root_it_says_that_it_cannot_be_had(tmp_path: Path) -> None:
    _, modern = pair(tmp_path)
    with as_no_root(tmp_path), pytest.raises(HostError, match="needs root") as refused:
        modern._refuse_what_is_not_ours_to_start()
    assert refused.value.code == EXIT_UNAVAILABLE


def test_nothing_runs_inside_before_it_is_held(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path), "KTRDR_LAB_ENGINE_ROOT": str(tmp_path / "first")}
    with pytest.raises(Exception, match="not held"):
        Laboratory(env=env).within(["true"])
