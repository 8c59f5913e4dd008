"""What a press of TAB is answered: as the shells ask, in a process, with nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktrdr_sandbox.cli import grammar
from ktrdr_sandbox.cli.app import application
from tests.cli.docker_scripts import docker_script
from tests.support.repositories import git
from tests.support.world import World, register

HEAVY = ("typer", "pydantic", "python_on_whales", "httpx", "rich", "platformdirs", "psutil")


def asked(
    world: World,
    *words: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    code: str = "from ktrdr_sandbox.__main__ import main; main()",
) -> list[str]:
    """The answer to zsh; the last word is the unfinished one."""
    done = subprocess.run(
        [sys.executable, "-c", code, "ktrdr-sandbox", *words],
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
    assert done.stdout.endswith("\n")
    return done.stdout[:-1].split("\n") if done.stdout != "\n" else []


def asked_by_bash(world: World, line: str, word: str, *, listing: bool = False) -> list[str]:
    """The answer to `complete -C` of bash, at the end of the line; `word` as bash sees it."""
    done = subprocess.run(
        [sys.executable, "-m", "ktrdr_sandbox", "ktrdr-sandbox", word, ""],
        cwd=world.repository.root,
        env={
            **os.environ,
            "KTRDR_HOME": str(world.home),
            "_KTRDR_SANDBOX_COMPLETE": "bash",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "63" if listing else "9",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


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


def test_the_grammar_has_every_command_and_option() -> None:
    known = json.loads(grammar.FILE.read_text(encoding="utf-8"))["commands"]
    assert len(known) == len(application().registered_commands) + len(
        application().registered_groups
    )
    names = {name for option in known["logs"]["options"] for name in option["names"]}
    assert {"--instance", "-i", "--follow", "-f", "--tail", "--since", "--json"} <= names
    assert known["wait"]["arguments"] == [{"kind": "instance"}]


def test_commands_of_a_group(world: World) -> None:
    assert asked(world, "config", "sh") == ["show\tEach setting, its value, and where it came from"]
    assert asked(world, "config", "show", "--ch") == ["--changed\tOnly what is not the default"]


def test_tools_and_error_codes(world: World) -> None:
    assert asked(world, "open", "g") == ["grafana"]
    assert asked(world, "explain", "would") == ["would-lose-work"]


def test_words_of_another_program_are_not_ours(world: World) -> None:
    assert asked(world, "run", "make", "--jso") == [":files"]


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


def test_instances_with_slot_and_state(two: World) -> None:
    uuid = two.registered()["ktrdr--feat-y"]["uuid"]
    running = docker_script(two, f"echo {uuid}")
    assert asked(two, "up", "", env=running) == [
        "feat-x\tslot 8, stopped",
        "feat-y\tslot 9, running",
    ]
    assert asked(two, "logs", "--instance", "ktrdr--feat-y", env=running) == [
        "ktrdr--feat-y\tslot 9, running"
    ]
    assert asked(two, "logs", "--instance=k", env=running) == [
        "--instance=ktrdr--feat-x\tslot 8, stopped",
        "--instance=ktrdr--feat-y\tslot 9, running",
    ]


@pytest.mark.parametrize("script", ["exit 1", "echo rubbish >&2; sleep 60"])
def test_an_engine_that_does_not_answer_costs_the_state_alone(two: World, script: str) -> None:
    began = time.monotonic()
    assert asked(two, "up", "", env=docker_script(two, script)) == [
        "feat-x\tslot 8",
        "feat-y\tslot 9",
    ]
    assert time.monotonic() - began < 30


def test_without_docker_the_names_come_all_the_same(two: World) -> None:
    git_folder = two.folder / "only-git"
    git_folder.mkdir()
    assert asked(two, "up", "", env={"PATH": str(git_folder)}) == [
        "feat-x\tslot 8",
        "feat-y\tslot 9",
    ]


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
    assert asked(world, "up", "--bundle", "") == [":files"]
    assert asked(world, "init-shared", "--from=x") == [":files"]


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
    for words in (["up", ""], ["create", "q", "--branch", ""], ["logs", "-i", "feat-x", ""]):
        assert asked(two, *words, code=code)[-1] == "[]"


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


def test_bash_lists_with_descriptions_and_inserts_without(two: World) -> None:
    line = "ktrdr-sandbox up feat-"
    assert asked_by_bash(two, line, "feat-") == ["feat-x", "feat-y"]
    assert asked_by_bash(two, line, "feat-", listing=True) == [
        "feat-x  (slot 8)",
        "feat-y  (slot 9)",
    ]
    assert asked_by_bash(two, f"{line}x", "feat-x", listing=True) == ["feat-x"]


def test_bash_gets_only_what_it_replaces(two: World) -> None:
    # Its word begins anew after `=`.
    assert asked_by_bash(two, "ktrdr-sandbox logs --instance=feat-x", "feat-x") == ["feat-x"]
    assert asked_by_bash(two, "ktrdr-sandbox logs --instance=", "") == ["feat-x", "feat-y"]


def test_bash_gets_special_signs_escaped(world: World) -> None:
    git(world.repository.root, "branch", "it's-$mine")
    line = "ktrdr-sandbox create q --branch "
    assert asked_by_bash(world, f"{line}it", "it") == ["it\\'s-\\$mine"]
    assert asked_by_bash(world, f"{line}'it", "'it") == ["it's-$mine"]


def test_ktrdr_sandbox_is_completed_and_ktrdr_is_not(two: World) -> None:
    assert asked_by_bash(two, "ktrdr sandbox up feat-x", "feat-x") == ["feat-x"]
    assert asked_by_bash(two, "ktrdr op", "op") == [""]


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
