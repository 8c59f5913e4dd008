"""Bad input and bad circumstances: the exit status, the fact, and the way out."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.docker_scripts import docker_script
from tests.support.world import Outcome, World


def nothing_is_left(world: World, *, branches: tuple[str, ...] = ("main",)) -> None:
    """No instance, worktree, branch or directory of a failed attempt."""
    assert world.registered() == {}
    assert world.repository.worktrees() == [world.repository.root]
    assert tuple(world.repository.branches()) == branches
    assert [path.name for path in world.folder.glob("ktrdr--*")] == []
    excluded = world.repository.root / ".git" / "info" / "exclude"
    assert ".env.sandbox" not in excluded.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "reason", "way_out"),
    [
        ("feat/x", "only a-z, 0-9 and single - or _", "Try 'feat-x'."),
        ("..", "only a-z, 0-9 and single - or _", "Try a name like 'feat-x'."),
        ("../x", "only a-z, 0-9 and single - or _", "Try 'x'."),
        ("my feature", "only a-z, 0-9 and single - or _", "Try 'my-feature'."),
        ("Feat-X", "only a-z, 0-9 and single - or _", "Try 'feat-x'."),
        ("-x-", "No such option", "--help"),
        ("x" * 200, "it has 200 characters, 48 are allowed", "Try 'xxxx"),
        ("", "it is empty", "Try a name like 'feat-x'."),
        ("ktrdr--", "it is empty", "Try a name like 'feat-x'."),
        ("x\ny", "only a-z, 0-9 and single - or _", "Try 'x-y'."),
    ],
)
def test_names_that_cannot_be(world: World, name: str, reason: str, way_out: str) -> None:
    outcome = world.run("create", name)
    assert outcome.exit_code == 64, outcome
    assert reason in outcome.stderr
    assert way_out in outcome.stderr
    assert outcome.stdout == ""
    nothing_is_left(world)


@pytest.mark.parametrize("slot", ["0", "11", "-1", "x", ""])
def test_slots_that_cannot_be(world: World, slot: str) -> None:
    outcome = world.run("create", "feat-x", "--slot", slot)
    assert outcome.exit_code == 64, outcome
    assert "--slot" in outcome.stderr
    nothing_is_left(world)


def test_a_slot_that_is_taken(world: World) -> None:
    slot = world.run("create", "first", "--json").data["instance"]["slot"]
    outcome = world.run("create", "second", "--slot", str(slot))
    assert outcome.exit_code == 1, outcome
    assert outcome.err == (
        f"error: Slot {slot} is in use by ktrdr--first.\n"
        "hint: Use another slot: --slot N, or leave --slot out to get a free one\n"
    )
    assert not world.path_of("second").exists()
    assert world.repository.branches() == ["first", "main"]


def test_an_existing_directory(world: World) -> None:
    world.repository.git("status")
    world.path_of("feat-x").mkdir()
    outcome = world.run("create", "feat-x")
    assert outcome.exit_code == 3, outcome
    assert outcome.err == (
        "error: The directory <world>/ktrdr--feat-x exists already.\n"
        "hint: Use another name, or remove that directory if nothing in it is needed.\n"
        "hint: An existing checkout becomes an instance by 'ktrdr-sandbox init' in it.\n"
    )
    world.path_of("feat-x").rmdir()
    nothing_is_left(world)


def test_a_branch_that_is_checked_out_elsewhere(world: World) -> None:
    outcome = world.run("create", "feat-x", "--branch", "main")
    assert outcome.exit_code == 2, outcome
    assert outcome.err == (
        "error: Cannot create worktree: branch 'main' is already checked out at '<world>/ktrdr'. "
        "Use a different name or checkout a different branch there first.\n"
    )
    nothing_is_left(world)


def test_a_branch_whose_worktree_was_removed_by_hand(world: World) -> None:
    gone = world.repository.add_worktree(world.path_of("feat-x"), "-b", "feat-x").root
    shutil.rmtree(gone)
    outcome = world.run("create", "feat-x")
    assert outcome.exit_code == 2, outcome
    assert outcome.err == (
        "error: Cannot create worktree: branch 'feat-x' is already checked out at "
        "'<world>/ktrdr--feat-x'. Use a different name or checkout a different branch there "
        "first.\n"
        "hint: Its directory is gone; have git forget it: "
        "git worktree remove --force <world>/ktrdr--feat-x\n"
    )
    assert world.registered() == {}


def test_a_place_that_git_keeps_for_another_branch(world: World) -> None:
    gone = world.repository.add_worktree(world.path_of("feat-x"), "-b", "other").root
    shutil.rmtree(gone)
    outcome = world.run("create", "feat-x")
    assert outcome.exit_code == 2, outcome
    assert outcome.err == (
        "error: Cannot create worktree: git has one at '<world>/ktrdr--feat-x' already, with "
        "branch 'other' checked out.\n"
        "hint: Its directory is gone; have git forget it: "
        "git worktree remove --force <world>/ktrdr--feat-x\n"
        "hint: Or use another name.\n"
    )
    assert world.run("create", "feat-x", "--json").error["code"] == "worktree-conflict"
    assert world.registered() == {}
    assert world.repository.branches() == ["main", "other"]


def test_an_instance_whose_worktree_was_removed_by_hand(world: World) -> None:
    assert world.run("create", "feat-x").exit_code == 0
    shutil.rmtree(world.path_of("feat-x"))
    outcome = world.run("create", "feat-x")
    assert outcome.exit_code == 3, outcome
    assert outcome.err == (
        "error: The instance ktrdr--feat-x is registered already, at <world>/ktrdr--feat-x.\n"
        "hint: Use another name, or end that one first: 'ktrdr-sandbox destroy feat-x'.\n"
    )


def test_a_branch_that_does_not_exist(world: World) -> None:
    outcome = world.run("create", "feat-x", "--branch", "nobody-made-it")
    assert outcome.exit_code == 2, outcome
    assert "there is no branch 'nobody-made-it'" in outcome.stderr
    nothing_is_left(world)


@pytest.mark.parametrize("command", ["create", "init"])
def test_outside_a_repository(world: World, command: str) -> None:
    outside = world.folder / "outside"
    outside.mkdir()
    outcome = world.run(command, *(["feat-x"] if command == "create" else []), cwd=outside)
    assert outcome.exit_code == 2, outcome
    assert outcome.err == (
        "error: <world>/outside is not inside a git repository with a working tree.\n"
        "hint: Go to your KTRDR checkout and run the command there.\n"
    )


OF_AN_INSTANCE = ["up", "down", "destroy", "status", "logs", "wait", "isolate"]


@pytest.mark.parametrize("command", OF_AN_INSTANCE)
def test_outside_an_instance(world: World, command: str) -> None:
    outcome = world.run(command)
    assert outcome.exit_code == 66, outcome
    assert outcome.err == (
        "error: Not in a sandbox instance directory. Run 'ktrdr-sandbox list' to see instances, "
        "or 'ktrdr-sandbox create <name>' to create one.\n"
    )


@pytest.mark.parametrize("command", OF_AN_INSTANCE)
def test_an_instance_that_does_not_exist(world: World, command: str) -> None:
    world.run("create", "feat-x")
    name = ["-i", "feat-y"] if command == "logs" else ["feat-y"]
    outcome = world.run(command, *name)
    assert outcome.exit_code == 66, outcome
    assert outcome.err == (
        "error: There is no instance 'feat-y'. Instances: feat-x.\n"
        "hint: Run 'ktrdr-sandbox list' to see instances.\n"
    )


def test_without_docker_on_the_path(world: World) -> None:
    world.run("create", "feat-x")
    only_git = world.folder / "bin"
    only_git.mkdir()
    outcome = world.run("up", "feat-x", env={"PATH": str(only_git)})
    assert outcome.exit_code == 69, outcome
    assert outcome.err == (
        "error: The docker command was not found on PATH.\n"
        "hint: Install Docker: https://docs.docker.com/engine/install/\n"
    )


def test_without_git_on_the_path(world: World) -> None:
    cwd = world.repository.root
    outcome = world.run("create", "feat-x", cwd=cwd, env={"PATH": str(world.folder)})
    assert outcome.exit_code == 69, outcome
    assert outcome.err.startswith("error: git was not found on PATH.\n")


VERSION = '{"Client":{"Version":"28.0"},"Server":{"Version":"20.10","ApiVersion":"1.41"}}'


def test_a_compose_that_is_too_old(world: World) -> None:
    world.run("create", "feat-x")
    script = f"""case "$*" in
*compose\\ version*) echo v2.20.0;;
*version*) echo '{VERSION}';;
esac"""
    outcome = world.run("up", "feat-x", env=docker_script(world, script))
    assert outcome.exit_code == 69, outcome
    assert outcome.err == (
        "error: Docker Compose 2.20.0 is too old: 2.24.4 or newer is needed.\n"
        "hint: Upgrade the Compose plugin: https://docs.docker.com/compose/install/\n"
    )


def test_docker_without_compose(world: World) -> None:
    world.run("create", "feat-x")
    script = f"""case "$*" in
*compose*) echo "docker: 'compose' is not a docker command." >&2; exit 1;;
*version*) echo '{VERSION}';;
esac"""
    outcome = world.run("up", "feat-x", env=docker_script(world, script))
    assert outcome.exit_code == 69, outcome
    assert "it has no 'docker compose' command" in outcome.stderr


def test_docker_that_does_not_answer(world: World) -> None:
    nowhere = f"unix://{world.folder}/nobody.sock"
    world.run("create", "feat-x", env={"DOCKER_HOST": nowhere})
    outcome = world.run("up", "feat-x")
    assert outcome.exit_code == 69, outcome
    assert f"Docker does not answer at unix://{world.folder}/nobody.sock" in outcome.stderr


def test_a_home_that_cannot_be_written(world: World) -> None:
    blocker = world.folder / "a-file"
    blocker.touch()
    outcome = world.run("create", "feat-x", env={"KTRDR_HOME": str(blocker / "home")})
    assert outcome.exit_code == 73, outcome
    assert f"{blocker}/home" in outcome.stderr
    nothing_is_left(world)


def test_settings_that_cannot_be(world: World) -> None:
    outcome = world.run("create", "feat-x", env={"KTRDR_SANDBOX_BIND_ADDRESS": "somewhere"})
    assert outcome.exit_code == 78, outcome
    assert "bind_address" in outcome.stderr
    assert "'somewhere'" in outcome.stderr
    nothing_is_left(world)


def test_initialising_twice(world: World) -> None:
    assert world.run("init").exit_code == 0
    outcome = world.run("init")
    assert outcome.exit_code == 1, outcome
    assert outcome.err == (
        "error: <world>/ktrdr is already initialised as instance ktrdr--ktrdr.\n"
        "hint: Run 'ktrdr-sandbox up' to start it.\n"
    )


def test_a_repository_that_is_not_ktrdr(world: World) -> None:
    for name in ("compose.yaml", "docker-compose.yml", "pyproject.toml"):
        (world.repository.root / name).unlink(missing_ok=True)
    for path in (world.repository.root / "deploy").rglob("*.yml"):
        path.unlink()
    outcome = world.run("init")
    assert outcome.exit_code == 2, outcome
    assert "is not a ktrdr repository" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("frob",),
        ("create",),
        ("create", "a", "b"),
        ("list", "--nonsense"),
        ("up", "--timeout", "x"),
        ("logs", "--tail", "-1"),
        ("wait", "--timeout", "0"),
    ],
)
def test_wrong_usage_as_text_and_as_json(world: World, arguments: tuple[str, ...]) -> None:
    outcome = world.run(*arguments)
    assert outcome.exit_code == 64, outcome
    assert outcome.stderr.startswith("error: ")
    assert outcome.stdout == ""
    as_json = world.run(*arguments, "--json")
    assert as_json.exit_code == 64
    if arguments != ("create", "a", "b"):
        assert as_json.error["code"] == "usage"


def test_destroy_without_a_terminal_needs_a_yes(world: World) -> None:
    world.run("create", "feat-x")
    outcome = with_engine_of_nothing(world, "destroy", "feat-x")
    assert outcome.exit_code == 64, outcome
    assert "there is no terminal to ask on" in outcome.stderr
    assert world.path_of("feat-x").exists()


def with_engine_of_nothing(world: World, *arguments: str) -> Outcome:
    """Run against a docker command that answers every question with nothing."""
    return world.run(*arguments, env=docker_script(world, "exit 0"))


def test_destroy_refuses_over_work_that_is_nowhere_else(world: World) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / "draft.txt").write_text("mine", encoding="utf-8")
    outcome = with_engine_of_nothing(world, "destroy", "feat-x", "--yes")
    assert outcome.exit_code == 77, outcome
    assert outcome.err == (
        "error: <world>/ktrdr--feat-x holds work that is nowhere else:\n"
        "  ?? draft.txt\n"
        "hint: Commit or stash it, or keep the directory: --keep-worktree\n"
        "hint: With --force the directory is moved to the trash folder, not deleted.\n"
    )
    assert (world.path_of("feat-x") / "draft.txt").exists()
    assert list(world.registered()) == ["ktrdr--feat-x"]


def test_destroy_by_force_keeps_the_work_in_the_trash(world: World) -> None:
    world.run("create", "feat-x")
    (world.path_of("feat-x") / "draft.txt").write_text("mine", encoding="utf-8")
    outcome = with_engine_of_nothing(world, "destroy", "feat-x", "--yes", "--force")
    assert outcome.exit_code == 0, outcome
    (kept,) = (world.home / "sandbox" / "trash").glob("ktrdr--feat-x-*")
    assert (kept / "draft.txt").read_text(encoding="utf-8") == "mine"
    assert not world.path_of("feat-x").exists()
    assert world.registered() == {}
    assert world.repository.branches() == ["feat-x", "main"]
