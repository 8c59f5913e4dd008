"""Approvals: exact content, repository by repository, readable by their owner alone."""

from __future__ import annotations

import json
import stat

import pytest

from ktrdr_sandbox.commands.configuration import approvals_file, approve, is_approved
from tests.support.repositories import repository
from tests.unit.commands.scenes import Scene


def test_an_approval_is_for_content_and_repository(scene: Scene) -> None:
    root = scene.repository.root
    other = repository(scene.folder / "other")
    approve(scene.context, root, "aa")
    assert is_approved(scene.home, root, "aa")
    assert not is_approved(scene.home, root, "bb")
    assert not is_approved(scene.home, other.root, "aa")


def test_all_worktrees_of_a_repository_count_as_one(scene: Scene) -> None:
    approve(scene.context, scene.repository.root, "aa")
    assert is_approved(scene.home, scene.instance().path, "aa")


def test_earlier_approvals_stay_and_none_is_there_twice(scene: Scene) -> None:
    root = scene.repository.root
    for digest in ("aa", "bb", "aa"):
        approve(scene.context, root, digest)
    assert is_approved(scene.home, root, "aa")
    assert is_approved(scene.home, root, "bb")
    entries = json.loads(approvals_file(scene.home).read_text())["approvals"]
    assert [entry["sha256"] for entry in entries] == ["bb", "aa"]
    assert stat.S_IMODE(approvals_file(scene.home).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "approvals": []}', '{"version": 1, "approvals": [1]}']
)
def test_a_file_that_is_damaged_approves_nothing(scene: Scene, text: str) -> None:
    root = scene.repository.root
    approve(scene.context, root, "aa")
    approvals_file(scene.home).write_text(text)
    assert not is_approved(scene.home, root, "aa")
    approve(scene.context, root, "aa")
    assert is_approved(scene.home, root, "aa")


def test_a_directory_without_a_repository(scene: Scene) -> None:
    approve(scene.context, scene.folder, "aa")
    assert is_approved(scene.home, scene.folder, "aa")
    assert not is_approved(scene.home, scene.repository.root, "aa")
