from __future__ import annotations

from typing import Any

import pytest

from tests.unit.isolation.requests import PARENT, ROOT, isolated, plain

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
