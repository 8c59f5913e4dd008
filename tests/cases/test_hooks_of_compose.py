"""Hooks that a Compose file has for its own services."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.repositories import case
from tests.support.stacks import leftovers

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine, cases"),
    pytest.mark.timeout(300),
]

FAILED_ONCE = r"""
services:
  app:
    image: tiny:1
    command: ["sleep", "infinity"]
    stop_grace_period: 1s
    volumes: [".:/work:ro", "data:/data"]
    pre_start:
      - command: ["sh", "-c", "test -e /work/ok || { echo no ok file >&2; exit 3; }"]
volumes:
  data:
"""


def test_a_pre_start_hook_that_failed_once_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    with case(tmp_path, FAILED_ONCE, files={".gitignore": "/ok\n"}) as found:
        failed = found.up().expect(1)
        assert failed.error["code"] == "compose-failed"
        assert "no ok file" in failed.stdout + failed.stderr
        (found.stack.path / "ok").touch()
        found.up().expect(0)
        found.place.run("down", found.stack.name, "--volumes").expect(0)
        found.place.run("destroy", found.stack.name, "--yes").expect(0)
        assert leftovers(f"label=com.docker.compose.project={found.stack.id}") == []
