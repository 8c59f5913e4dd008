"""How much of the program a command loads: what is imported at the top is paid for each time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.world import World, register

COUNT = """
import sys
from ktrdr_sandbox.__main__ import main
try: main()
finally: print([name for name in sys.modules if name.startswith("ktrdr_sandbox.")], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "most"), [(("--version",), 20), (("list",), 60), (("up", "feat-x"), 140)]
)
def test_own_modules_that_a_command_loads(
    world: World, arguments: tuple[str, ...], most: int
) -> None:
    register(world, {"feat-x": 8})
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    loaded = done.stderr.splitlines()[-1].split(", ")
    assert len(loaded) <= most, loaded
