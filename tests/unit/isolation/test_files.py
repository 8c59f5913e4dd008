from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.override import plain
from tests.unit.isolation.requests import PARENT, ROOT, isolated

COMPOSE = ROOT / "deploy" / "environments" / "local"


def build(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    service = plain(isolated({"app": {"build": body}}, **changes).override["services"]["app"])
    found: dict[str, Any] = service.get("build", {})
    return found


@pytest.mark.parametrize("section", ["secrets", "configs"])
def test_files_come_home_and_are_never_shared(section: str) -> None:
    files: Any = {
        "main": {"file": f"{PARENT}/a/token"},
        "own": {"file": f"{ROOT}/token"},
        "data": {"file": f"{ROOT}/data/token"},
        "inline": {"content": "x"},
        "variable": {"environment": "TOKEN"},
    }
    isolation = isolated({"app": {}}, **{section: files})
    assert plain(isolation.override[section]) == {"main": {"file": f"{ROOT}/a/token"}}


def test_build_paths_come_home() -> None:
    found = build(
        {
            "context": str(PARENT),
            "dockerfile": f"{PARENT}/docker/Dockerfile",
            "additional_contexts": {"lib": f"{PARENT}/lib", "url": "https://example.com/x.git"},
        }
    )
    assert found == {
        "context": str(ROOT),
        "dockerfile": f"{ROOT}/docker/Dockerfile",
        "additional_contexts": {"lib": f"{ROOT}/lib"},
    }


def test_a_context_that_climbs_to_the_root_comes_home() -> None:
    """`../../..` of the Compose file's folder, which from the root is an ancestor of it."""
    body = {"context": "/", "dockerfile": "Dockerfile"}
    assert build(body, compose_directory=COMPOSE) == {"context": str(ROOT)}


def test_watched_folders_come_home() -> None:
    watch = [
        {"path": f"{ROOT}/src", "action": "sync", "target": "/src"},
        {"path": f"{PARENT}/lib", "action": "rebuild"},
    ]
    isolation = isolated({"app": {"develop": {"watch": watch}}})
    assert plain(isolation.override["services"]["app"]["develop"]) == {
        "watch": {"!override": [watch[0], {"path": f"{ROOT}/lib", "action": "rebuild"}]}
    }
