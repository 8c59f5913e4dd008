"""Instances whose files are gone can still be ended, by name alone."""

from __future__ import annotations

import shutil

import pytest

from tests.support.stacks import Sandbox, docker, git, images

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]


def test_a_worktree_removed_by_hand(light: Sandbox, mark: str) -> None:
    stack = light.create(f"{mark}-gone")
    light.up(stack, "--no-wait").expect(0)
    shutil.rmtree(stack.path)
    assert light.listed()[stack.name]["status"] == "orphaned"
    assert light.run("logs", "-i", stack.name, "db", "--tail", "1").expect(0).stdout
    refused = light.run("up", stack.name, "--json").expect(66)
    assert refused.error["hints"] == [f"End what is left of it: ktrdr-sandbox destroy {stack.name}"]
    light.run("destroy", stack.name, "--yes").expect(0)
    assert stack.leftovers() == []
    assert images(f"{stack.id}/*") == []
    assert light.listed() == {}
    assert git("worktree", "list", "--porcelain", cwd=light.repository).count("worktree ") == 1
    assert stack.name in git("branch", cwd=light.repository)


def test_an_entry_goes_by_itself_when_nothing_is_left_of_it(light: Sandbox, mark: str) -> None:
    """Data in volumes is something, and so is an image; a directory alone was the last of it."""
    stack = light.create(f"{mark}-down")
    light.up(stack, "--no-wait").expect(0)
    light.run("down", stack.name, "--now").expect(0)
    shutil.rmtree(stack.path)
    assert light.listed()[stack.name]["status"] == "orphaned"
    light.run("down", stack.name, "--volumes").expect(0)
    assert stack.leftovers() == []
    assert light.listed()[stack.name]["status"] == "orphaned"
    docker("image", "rm", *images(f"{stack.id}/*"))
    data = light.run("list", "--json").expect(0).data
    assert (data["instances"], data["dropped"]) == ([], [stack.id])
    assert not (light.state / "instances" / stack.id).exists()


def test_a_branch_without_its_compose_file(light: Sandbox, mark: str) -> None:
    stack = light.create(f"{mark}-bare")
    light.up(stack, "--no-wait").expect(0)
    git("rm", "--quiet", "docker-compose.yml", cwd=stack.path)
    shutil.rmtree(stack.path / "deploy")
    git("add", "--all", cwd=stack.path)
    refused = light.run("destroy", stack.name, "--yes", "--json").expect(77)
    assert refused.error["code"] == "would-lose-work"
    assert len(stack.containers()) == 3, "a refusal touches nothing"
    git("commit", "--quiet", "--message", "Without Compose", cwd=stack.path)
    assert light.listed()[stack.name]["status"] == "running"
    light.run("down", stack.name, "--now").expect(0)
    assert stack.containers() == []
    light.run("destroy", stack.name, "--yes").expect(0)
    assert stack.leftovers() == []
    assert images(f"{stack.id}/*") == []
    assert light.listed() == {}
    assert not stack.path.exists()
