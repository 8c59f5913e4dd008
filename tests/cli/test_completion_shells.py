"""Completion in real bash, zsh and fish: TAB is pressed, and the shell says what it made of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.repositories import git
from tests.support.shells import SHELLS, Shell, path_of, shell_at_prompt
from tests.support.world import World, register


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """feat-x in slot 8 and feat-y in slot 9, and a branch that no shell takes as it is."""
    world = World(tmp_path_factory.mktemp("shells"))
    register(world, {"feat-x": 8, "feat-y": 9})
    git(world.repository.root, "branch", "it's-$mine")
    return world


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, made: World) -> Iterator[Shell]:
    with shell_at_prompt(
        request.param, cwd=made.repository.root, environment={"KTRDR_HOME": str(made.home)}
    ) as ready:
        yield ready


def test_tab(shell: Shell) -> None:
    typed_and_run = {
        "ktrdr-sandbox stat": "[ktrdr-sandbox][status]",
        "ktrdr-sandbox up feat-y": "[ktrdr-sandbox][up][feat-y]",
        "ktrdr-sandbox up fe": "[ktrdr-sandbox][up][feat-]",
        "ktrdr-sandbox up ktrdr--feat-y": "[ktrdr-sandbox][up][ktrdr--feat-y]",
        "ktrdr-sandbox down feat-x --vol": "[ktrdr-sandbox][down][feat-x][--volumes]",
        "ktrdr-sandbox wait --for ba": "[ktrdr-sandbox][wait][--for][backend]",
        "ktrdr-sandbox wait --for=backend,wo": "[ktrdr-sandbox][wait][--for=backend,workers]",
        "ktrdr-sandbox create q --branch it": "[ktrdr-sandbox][create][q][--branch][it's-$mine]",
        "ktrdr-sandbox create q --slot 10": "[ktrdr-sandbox][create][q][--slot][10]",
        "ktrdr-sandbox up --bundle docker-c": "[ktrdr-sandbox][up][--bundle][docker-compose.yml]",
        "ktrdr-sandbox up --bundle=docker-c": "[ktrdr-sandbox][up][--bundle=docker-compose.yml]",
        "ktrdr sandbox stat": "[ktrdr][sandbox][status]",
        "ktrdr san": "[ktrdr][sandbox]",
    }
    assert {line: shell.completed(line) for line in typed_and_run} == typed_and_run


def test_two_tabs_list_instances_with_slot(shell: Shell) -> None:
    shown = shell.listed("ktrdr-sandbox up feat-", until=r"slot 9")
    assert "slot 8" in shown


def test_a_damaged_registry_shows_nothing(world: World) -> None:
    world.registry_file.parent.mkdir(parents=True)
    world.registry_file.write_text("{ no json", encoding="utf-8")
    for name in SHELLS:
        with shell_at_prompt(
            name, cwd=world.repository.root, environment={"KTRDR_HOME": str(world.home)}
        ) as shell:
            start = len(shell.shown.raw)
            assert shell.completed("ktrdr-sandbox up fe") == "[ktrdr-sandbox][up][fe]"
            assert "rror" not in shell.since(start)
    assert [path.name for path in world.registry_file.parent.iterdir()] == ["instances.json"]


BEFORE = {
    "bash": "_before() { COMPREPLY=(operations); }; complete -F _before ktrdr; ",
    "zsh": "autoload -Uz compinit; compinit -u -D; _before() { compadd operations }; "
    "compdef _before ktrdr; ",
    "fish": "complete -c ktrdr --no-files -a operations; ",
}


@pytest.mark.parametrize("name", SHELLS)
def test_what_ktrdr_completes_itself_goes_on(made: World, name: str) -> None:
    with shell_at_prompt(
        name,
        cwd=made.repository.root,
        environment={"KTRDR_HOME": str(made.home)},
        before=BEFORE[name],
    ) as shell:
        assert shell.completed("ktrdr oper") == "[ktrdr][operations]"
        assert shell.completed("ktrdr sandbox stat") == "[ktrdr][sandbox][status]"


@pytest.mark.parametrize("name", SHELLS)
def test_an_installed_script_is_found_by_a_new_shell(world: World, name: str) -> None:
    home = world.folder / "me"
    home.mkdir()
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "ZDOTDIR": str(home)}
    own |= {"XDG_CONFIG_HOME": str(home / "config"), "KTRDR_HOME": str(world.home)}
    assert world.run("completion", name, "--install", env=own).exit_code == 0
    with shell_at_prompt(
        name, cwd=world.repository.root, environment=own, start_files=True
    ) as shell:
        assert shell.completed("ktrdr-sandbox stat") == "[ktrdr-sandbox][status]"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_scripts_have_no_syntax_errors(made: World, name: str) -> None:
    script = made.run("completion", name).stdout
    done = subprocess.run(
        [path_of(name), "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
