"""The demo in a fresh clone, run as a newcomer runs it, and away again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import get_json
from tests.support.labels import LABEL_UUID
from tests.support.pages import CHECKOUT
from tests.support.repositories import git
from tests.support.stacks import (
    Outcome,
    account_home,
    base_environment,
    images,
    leftovers,
    run,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("chosen slots"),
    pytest.mark.timeout(600),
]

INSTANCES = ("ktrdr--demo-one", "ktrdr--demo-two")


def refuse_other_demo() -> None:
    """The names are the program's own, so that only one demo fits on an engine."""
    for name in INSTANCES:
        found = leftovers(f"label=com.docker.compose.project={name}")
        if found:
            pytest.fail(f"another demo is on this engine: {', '.join(found)}")


def test_demo_in_a_fresh_clone_leaves_nothing_when_it_is_cleaned(tmp_path: Path) -> None:
    refuse_other_demo()
    clone, scratch = tmp_path / "clone", tmp_path / "scratch"
    git(tmp_path, "clone", "--quiet", str(CHECKOUT), str(clone))
    environment = base_environment() | {
        "HOME": str(tmp_path / "home"),
        "PIP_CACHE_DIR": str(account_home() / ".cache" / "pip"),
    }

    def demo(*options: str) -> Outcome:
        argv = ["./scripts/demo", *options, "--directory", str(scratch)]
        return run(argv, cwd=clone, environment=environment).expect(0)

    try:
        stacks = data(demo("--json"))["stacks"]
        assert_shown(stacks, scratch)
    finally:
        cleaned = demo("--clean", "--json")
    assert data(cleaned) == {"destroyed": list(INSTANCES), "directory": str(scratch)}
    assert not scratch.exists()
    for stack in stacks:
        assert leftovers(f"label={LABEL_UUID}={stack['instance']['uuid']}") == []
        assert images(f"{stack['instance']['id']}/*") == []
    assert demo("--clean").stdout == "There was nothing of a demo to remove.\n"


def data(outcome: Outcome) -> Any:
    """Of the document; the script has a line of its own to say after it."""
    return json.loads(outcome.stdout.splitlines()[0])["data"]


def assert_shown(stacks: Any, scratch: Path) -> None:
    assert [stack["instance"]["id"] for stack in stacks] == list(INSTANCES)
    for stack in stacks:
        assert stack["gate"]["passed"] is True
        (api,) = [port["published"] for port in stack["ports"] if port["role"] == "backend"]
        answer = get_json(f"http://127.0.0.1:{api}/api/v1/info")
        assert answer["instance_id"] == stack["instance"]["id"]
        assert answer["greeting"] == stack["instance"]["name"]
    assert {path.name for path in scratch.iterdir() if path.is_dir()} == {"ktrdr", *INSTANCES}
