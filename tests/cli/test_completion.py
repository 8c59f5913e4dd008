"""What a press of TAB is answered: as the shells ask, in a process, with nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repositories import git
from tests.support.world import World, register

HEAVY = ("asyncio", "pydantic", "python_on_whales", "httpx", "rich", "platformdirs", "psutil")


def asked(
    world: World,
    *words: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    code: str = "from ktrdr_sandbox.__main__ import main; main()",
    program: tuple[str, ...] = ("ktrdr-sandbox",),
) -> list[str]:
    """The answer to zsh; the last word is the unfinished one."""
    done = subprocess.run(
        [sys.executable, "-c", code, *program, *words],
        cwd=cwd or world.repository.root,
        env={
            **os.environ,
            "KTRDR_HOME": str(world.home),
            "_KTRDR_SANDBOX_COMPLETE": "zsh",
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.fixture
def two(world: World) -> World:
    """feat-x in slot 8 and feat-y in slot 9, whoever uses those on this machine."""
    register(world, {"feat-x": 8, "feat-y": 9})
    return world


def test_commands_of_a_group(world: World) -> None:
    assert asked(world, "config", "sh") == ["show\tEach setting, its value, and where it came.."]
    assert asked(world, "config", "show", "--ch") == ["--changed\tOnly what is not the default"]


def test_tools_and_error_codes(world: World) -> None:
    assert asked(world, "open", "g") == ["grafana"]
    assert asked(world, "explain", "would") == ["would-lose-work"]


def test_commands(world: World) -> None:
    assert asked(world, "st") == ["status\tShow detailed status of an instance"]
    assert {line.split("\t")[0] for line in asked(world, "")} >= {"create", "up", "logs", "gc"}


def test_options_that_were_not_given_yet(world: World) -> None:
    volumes = "--volumes\tAlso remove volumes"
    every = asked(world, "down", "--")
    assert volumes in every
    assert asked(world, "down", "--volumes", "--") == [one for one in every if one != volumes]
    assert asked(world, "down", "--vol") == [volumes]
    assert asked(world, "down", "--", "--vol") == []


def test_instances_with_slot(two: World) -> None:
    assert asked(two, "up", "") == ["feat-x\tslot 8", "feat-y\tslot 9"]
    assert asked(two, "logs", "--instance", "ktrdr--feat-y") == ["ktrdr--feat-y\tslot 9"]
    assert asked(two, "logs", "--instance=k") == [
        "--instance=ktrdr--feat-x\tslot 8",
        "--instance=ktrdr--feat-y\tslot 9",
    ]
    assert asked(two, "config", "show", "feat-y") == ["feat-y\tslot 9"]


def test_an_instance_whose_directory_is_gone_says_so(two: World) -> None:
    two.path_of("feat-x").rename(two.folder / "elsewhere")
    assert asked(two, "destroy", "feat-x") == ["feat-x\tslot 8, directory gone"]


def test_a_new_name_is_for_the_user_to_find(two: World) -> None:
    assert asked(two, "create", "") == []


def test_free_slots(two: World) -> None:
    assert asked(two, "create", "q", "--slot", "") == ["1", "2", "3", "4", "5", "6", "7", "10"]


def test_checks_between_commas(world: World) -> None:
    assert asked(world, "wait", "--for", "ba") == ["backend"]
    assert asked(world, "wait", "--for", "backend,workers,d") == ["backend,workers,database"]
    assert asked(world, "wait", "--for=backend,b") == []


def test_paths_are_the_shells(world: World) -> None:
    assert asked(world, "up", "--bundle", "") == []
    assert asked(world, "init-shared", "--from=x") == []


def test_branches_and_where_they_are(two: World) -> None:
    root = two.repository.root
    clone = two.folder / "clone"
    git(two.folder, "clone", "--quiet", str(root), str(clone))
    git(clone, "branch", "it's-$mine")
    found = asked(two, "create", "q", "--branch", "", cwd=clone)
    assert sorted(found) == [
        "feat-x\tonly on origin",
        "feat-y\tonly on origin",
        "it's-$mine\tlocal branch",
        f"main\talready checked out in {clone}",
    ]
    assert asked(two, "create", "q", "--branch", "fe", cwd=two.folder) == []


def test_services_of_the_instance_that_is_meant(two: World) -> None:
    state = two.home / "sandbox" / "instances" / "ktrdr--feat-x"
    uuid = two.registered()["ktrdr--feat-x"]["uuid"]
    record = {"uuid": uuid, "slot": 8, "services": ["backend", "db", "worker-1"]}
    (state / "stack.json").write_text(json.dumps(record), encoding="utf-8")
    assert asked(two, "logs", "-i", "feat-x", "") == ["backend", "db", "worker-1"]
    assert asked(two, "logs", "-i", "ktrdr--feat-x", "db", "") == ["backend", "worker-1"]
    assert asked(two, "logs", "b", cwd=two.path_of("feat-x")) == ["backend"]
    assert asked(two, "logs", "", cwd=two.path_of("feat-y")) == []
    assert asked(two, "logs", "-i", "nobody", "") == []
    (state / "stack.json").write_text('{"uuid": "of another", "services": ["x"]}')
    assert asked(two, "logs", "-i", "feat-x", "") == []


def test_nothing_heavy_is_loaded(two: World) -> None:
    code = (
        "import sys\n"
        "from ktrdr_sandbox.__main__ import main\n"
        "try: main()\n"
        f"finally: print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert asked(two, "up", "", code=code)[-1] == "[]"


@pytest.mark.parametrize(
    "text", ["{ no json", '{"version": 99, "instances": {}}', '{"version": 1, "instances": 7}']
)
def test_a_registry_that_cannot_be_read_gives_nothing_and_stays(two: World, text: str) -> None:
    two.registry_file.write_text(text, encoding="utf-8")
    before = snapshot(two.home)
    assert asked(two, "up", "") == []
    assert len(asked(two, "create", "q", "--slot", "")) == 10
    assert asked(two, "logs", "-i", "feat-x", "") == []
    assert snapshot(two.home) == before


def test_what_a_killed_command_left_is_not_touched(two: World) -> None:
    state = two.home / "sandbox" / "instances" / "ktrdr--feat-x"
    (state / "journal.json").write_text("half", encoding="utf-8")
    two.registry_file.with_name("instances.json.tmp").write_text("half", encoding="utf-8")
    before = snapshot(two.folder)
    for words in (["destroy", ""], ["create", "q", "--branch", ""], ["logs", "-i", "feat-x", ""]):
        asked(two, *words)
    assert snapshot(two.folder) == before


def test_a_first_run_makes_no_home(world: World) -> None:
    assert asked(world, "up", "") == []
    assert not world.home.exists()


def test_outside_any_directory(two: World) -> None:
    gone = two.folder / "gone"
    gone.mkdir()
    code = (
        f"import os, sys\nos.rmdir({str(gone)!r})\nfrom ktrdr_sandbox.__main__ import main\nmain()"
    )
    assert asked(two, "up", "feat-x", cwd=gone, code=code) == ["feat-x\tslot 8"]


def test_bash_gives_its_line_and_ktrdr_its_second_word(two: World) -> None:
    bash = {"_KTRDR_SANDBOX_COMPLETE": "bash"}
    for up in ("ktrdr-sandbox up", "/bin/ktrdr sandbox up", "ktrdr sandbox -q up"):
        assert asked(two, f"{up} 'feat-x", env=bash, program=()) == ["feat-x\tslot 8"]
    assert len(asked(two, "ktrdr-sandbox up ", env=bash, program=())) == 2


# -- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(world: World, shell: str) -> None:
    printed = world.run("completion", shell)
    assert printed.stdout.startswith("#")
    assert f"_KTRDR_SANDBOX_COMPLETE={shell} " in printed.stdout
    assert world.run("completion", "--json", env={"SHELL": f"/usr/bin/{shell}"}).data == {
        "shell": shell,
        "script": printed.stdout,
    }


def test_a_shell_that_is_not_known(world: World) -> None:
    refused = world.run("completion", env={"SHELL": "/bin/tcsh"})
    assert (refused.exit_code, refused.out) == (64, "")
    assert refused.err == (
        "error: Which shell? $SHELL is tcsh, and only bash, zsh and fish are known.\n"
        "hint: Say it: ktrdr-sandbox completion bash\n"
    )


def test_install_adds_one_line_once(world: World) -> None:
    home = world.folder / "me"
    home.mkdir()
    (home / ".bashrc").write_text("alias ll='ls -l'", encoding="utf-8")
    env = {"HOME": str(home), "XDG_DATA_HOME": None}
    done = world.run("completion", "bash", "--install", env=env)
    script = "<world>/me/.local/share/ktrdr-sandbox/completion.bash"
    line = f"[ ! -r '{script}' ] || . '{script}'  # completion of ktrdr-sandbox"
    assert done.out == (
        f"Completion for bash is in {script}.\n"
        f"Added to <world>/me/.bashrc: {line}\n"
        "New shells have it.\n"
    )
    kept = (home / ".bashrc").read_text(encoding="utf-8")
    assert world.shown(kept) == f"alias ll='ls -l'\n{line}\n"
    again = world.run("completion", "bash", "--install", env=env)
    assert again.out == f"Completion for bash is in {script}.\nNew shells have it.\n"
    assert (home / ".bashrc").read_text(encoding="utf-8") == kept


def test_install_for_fish_needs_no_line(world: World) -> None:
    home = world.folder / "me"
    home.mkdir()
    env = {"HOME": str(home), "XDG_CONFIG_HOME": None}
    done = world.run("completion", "fish", "--install", env=env)
    path = home / ".config" / "fish" / "completions" / "ktrdr-sandbox.fish"
    assert done.stdout == f"Completion for fish is in {path}.\nNew shells have it.\n"
    assert path.read_text(encoding="utf-8") == world.run("completion", "fish").stdout


def test_an_empty_variable_asks_for_nothing(world: World) -> None:
    outcome = world.run("list", env={"_KTRDR_SANDBOX_COMPLETE": ""})
    assert outcome.out == "No instances. Create one: ktrdr-sandbox create <name>\n"
