"""demo, and away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.http import get_json
from tests.support.labels import LABEL_UUID
from tests.support.stacks import (
    Sandbox,
    demo_settings,
    images,
    leftovers,
    sandbox,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("chosen slots"),
    pytest.mark.timeout(300),
]

INSTANCES = ("ktrdr--demo-one", "ktrdr--demo-two")


def refuse_other_demo() -> None:
    """The names are the program's own, so that only one demo fits on an engine."""
    for name in INSTANCES:
        found = leftovers(f"label=com.docker.compose.project={name}")
        if found:
            pytest.fail(f"another demo is on this engine: {', '.join(found)}")


def test_a_demo_leaves_nothing_when_it_is_cleaned(tmp_path: Path) -> None:
    refuse_other_demo()
    with sandbox(tmp_path / "place") as place:
        scratch = tmp_path / "scratch"
        run_demo(place, scratch)
        again = place.run("demo", "--clean", "--directory", str(scratch)).expect(0)
        assert again.stdout == "There was nothing of a demo to remove.\n"


def run_demo(place: Sandbox, scratch: Path) -> None:
    arguments = ("demo", "--directory", str(scratch), "--json")
    shown = place.run(*arguments, environment=demo_settings()).expect(0).data
    stacks = shown["stacks"]
    assert [stack["instance"]["id"] for stack in stacks] == list(INSTANCES)
    for stack in stacks:
        assert stack["gate"]["passed"] is True
        (api,) = [port["published"] for port in stack["ports"] if port["role"] == "backend"]
        answer = get_json(f"http://127.0.0.1:{api}/api/v1/info")
        assert answer["instance_id"] == stack["instance"]["id"]
        assert answer["greeting"] == stack["instance"]["name"]
    assert {path.name for path in scratch.iterdir() if path.is_dir()} == {"ktrdr", *INSTANCES}

    cleaned = place.run("demo", "--clean", *arguments[1:]).expect(0).data
    assert cleaned == {"destroyed": list(INSTANCES), "directory": str(scratch)}
    assert not scratch.exists()
    for stack in stacks:
        assert leftovers(f"label={LABEL_UUID}={stack['instance']['uuid']}") == []
        assert images(f"{stack['instance']['id']}/*") == []
    listed = place.run("list", "--json").expect(0).data
    assert listed == {"instances": [], "dropped": []}
