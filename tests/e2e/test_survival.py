"""What is on a real engine after a kill or a move, and files that belong to another user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.processes import held_slot
from tests.support.stacks import Sandbox, Stack, docker, git, images, sample_images

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]


def query(stack: Stack, sql: str) -> str:
    password = f"PGPASSWORD=sandbox-{stack.id}"
    argv = ("psql", "-h", "127.0.0.1", "-U", "ktrdr", "-d", "ktrdr", "-tAc", sql)
    return docker("exec", "-e", password, stack.container("db")["Id"], *argv)


def killed(light: Sandbox, *arguments: str, after: float, log: Path) -> bool:
    """Run a command and kill it, as by a lost power line, after some seconds."""
    with light.started(*arguments, log=log) as process:
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode == -signal.SIGKILL


def test_an_up_that_is_killed(light: Sandbox, mark: str, tmp_path: Path) -> None:
    stack = light.create(f"{mark}-up")
    log = tmp_path / "log"
    was_killed = killed(light, "up", stack.name, after=1.5, log=log)
    assert was_killed or "passed" in log.read_text().lower()
    again = light.run("up", stack.name, "--json").expect(0)
    assert again.data["gate"]["passed"]
    assert len(stack.containers()) == 3
    told = [m for m in again.document["messages"] if "did not end" in str(m)]
    assert was_killed or not told
    assert killed(light, "up", stack.name, "--build", after=0.7, log=log)
    light.run("destroy", stack.name, "--yes").expect(0)
    time.sleep(1)  # what a command that outlived the kill may still make
    assert stack.leftovers() == []
    assert images(f"{stack.id}/*") == []


def test_a_destroy_that_is_killed(light: Sandbox, mark: str, tmp_path: Path) -> None:
    stack = light.create(f"{mark}-destroy")
    for after in (0.5, 0.9):
        light.run("up", stack.name, "--no-wait").expect(0)
        killed(light, "destroy", stack.name, "--yes", after=after, log=tmp_path / "log")
        outcome = light.run("status", stack.name)
        assert outcome.code in (0, 66), str(outcome)
        assert stack.path.is_dir() == (outcome.code == 0) == (stack.name in light.listed())
        if outcome.code == 66:
            stack = light.create(f"{mark}-destroy")
    light.run("destroy", stack.name, "--yes").expect(0)
    assert stack.leftovers() == []
    assert git("worktree", "list", "--porcelain", cwd=light.repository).count("worktree ") == 1
    assert not list((light.state / "journal").glob("*"))


def test_a_stack_whose_network_was_pruned_while_it_was_stopped(light: Sandbox, mark: str) -> None:
    stack = light.create(f"{mark}-pruned")
    light.up(stack).expect(0)
    query(stack, "create table kept (n int); insert into kept values (42)")
    names = [one["Name"].removeprefix("/") for one in stack.containers()]
    networks = {name for one in stack.containers() for name in one["NetworkSettings"]["Networks"]}
    docker("stop", "--time", "5", *names)
    docker("network", "rm", *networks)
    light.up(stack).expect(0)
    assert query(stack, "select n from kept") == "42"
    light.run("destroy", stack.name, "--yes").expect(0)
    assert stack.leftovers() == []


def test_data_survives_a_move_to_another_slot(light: Sandbox, mark: str) -> None:
    stack = light.create(f"{mark}-move")
    light.up(stack).expect(0)
    query(stack, "create table kept (n int); insert into kept values (42)")
    with held_slot() as slot:
        to = ("--slot", str(slot), "--json")
        refused = light.run("move", stack.name, *to).expect(1)
        assert refused.error["code"] == "not-stopped"
        light.run("down", stack.name, "--now").expect(0)
        moved = light.run("move", stack.name, *to).expect(0).data
        light.up(stack).expect(0)
    assert query(stack, "select n from kept") == "42"
    published = stack.container("backend")["NetworkSettings"]["Ports"]["8000/tcp"]
    assert published == [{"HostIp": "127.0.0.1", "HostPort": str(8000 + slot)}]
    assert moved["ports"]["db"] == 5432 + slot


def test_a_moved_worktree_comes_up_at_its_new_place(light: Sandbox, mark: str) -> None:
    stack = light.create(f"{mark}-place")
    light.run("up", stack.name, "--no-wait").expect(0)
    now = stack.path.with_name("some where else")
    stack.path.rename(now)
    outcome = light.run("up", "--json", cwd=now).expect(0)
    assert any(str(now) in str(message) for message in outcome.document["messages"])
    sources = [mount["Source"] for mount in stack.container("backend")["Mounts"]]
    assert str(now / "ktrdr") in sources
    assert not any(source.startswith(f"{stack.path}/") for source in sources)
    light.run("destroy", stack.name, "--yes").expect(0)
    assert not now.exists()
    assert stack.leftovers() == []


def test_gc_ends_what_is_orphaned_and_nothing_else(light: Sandbox, mark: str) -> None:
    stack, other = light.create(f"{mark}-gone"), light.create(f"{mark}-other")
    for one in (stack, other):
        light.run("up", one.name, "--no-wait").expect(0)
    stranger = f"{stack.id}_theirs"
    docker("volume", "create", stranger)
    try:
        shutil.rmtree(stack.path)
        found = light.run("doctor", "--json").expect(1).data["findings"]
        told = [one for one in found if one["level"] == "problem"]
        assert [one["instance"] for one in told] == [stack.id]
        (item,) = light.run("gc", "--json").expect(0).data["items"]
        listed = {part for part in item["parts"] if not part.startswith("image")}
        assert listed == set(stack.leftovers())
        assert len(listed) == 5
        light.run("gc", "--yes").expect(0)
        assert stack.leftovers() == []
        assert images(f"{stack.id}/*") == []
        assert set(light.listed()) == {other.name}
        assert len(other.containers()) == 3
        assert docker("volume", "ls", "--quiet", "--filter", f"name={stranger}") == stranger
    finally:
        docker("volume", "rm", stranger)


def test_an_orphan_of_a_lost_home_is_found_by_its_labels(light: Sandbox, mark: str) -> None:
    """The entry and all that this home knew of it are gone; the labels still say whose it was."""
    stack = light.create(f"{mark}-lost")
    light.run("up", stack.name, "--no-wait").expect(0)
    git("worktree", "remove", "--force", str(stack.path), cwd=light.repository)
    (light.state / "instances.json").write_text('{"version": 1, "instances": {}}')
    shutil.rmtree(light.state / "instances")
    (item,) = light.run("gc", "--json").expect(0).data["items"]
    assert (item["kind"], item["name"]) == ("orphan", stack.id)
    light.run("gc", "--yes").expect(0)
    assert stack.leftovers() == []
    assert images(f"{stack.id}/*") == []


def test_files_of_another_user_are_given_back_before_they_are_deleted(
    light: Sandbox, mark: str
) -> None:
    """Containers leave files that their host's user may not delete; no capability here helps."""
    stack = light.create(f"{mark}-owner")
    light.run("up", stack.name, "--no-wait").expect(0)
    image = sample_images()["python:3.12-slim"]
    script = "mkdir -p /logs/deep/er && touch /logs/deep/er/file && chown -R 1000:1000 /logs/deep"
    bind = f"type=bind,source={stack.path / 'logs'},target=/logs"
    docker("run", "--rm", "--user=0", f"--mount={bind}", "--entrypoint=sh", image, "-c", script)

    assert shutil.which("setpriv")
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    program, light.program = light.program, [*powerless, *light.program]
    try:
        light.run("destroy", stack.name, "--yes").expect(0)
    finally:
        light.program = program
    assert not stack.path.exists()
    assert not list(stack.path.parent.glob(".ktrdr--*"))
    assert stack.leftovers() == []
