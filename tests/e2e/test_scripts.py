"""The scripts of a fresh clone, run as a newcomer runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.pages import CHECKOUT
from tests.support.repositories import git
from tests.support.stacks import account_home, base_environment, run

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("chosen slots"),
    pytest.mark.timeout(600),
]


def test_demo_in_a_fresh_clone_and_away_again(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(CHECKOUT), str(clone))
    environment = base_environment() | {
        "HOME": str(tmp_path / "home"),
        "PIP_CACHE_DIR": str(account_home() / ".cache" / "pip"),
    }
    try:
        shown = run(["./scripts/demo", "--json"], cwd=clone, environment=environment).expect(0)
        assert len(json.loads(shown.stdout.splitlines()[0])["data"]["stacks"]) == 2
    finally:
        run(["./scripts/demo", "--clean"], cwd=clone, environment=environment).expect(0)
