"""--json, --quiet and --verbose: on every command, before or after its name."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from ktrdr_sandbox import __version__
from ktrdr_sandbox.cli.app import application
from ktrdr_sandbox.console.results import SCHEMA_FILE
from tests.cli.docker_scripts import docker_script, empty_engine
from tests.cli.test_envelope import VERSIONS
from tests.support.world import World

SHARED = [["--json"], ["--quiet", "-q"], ["--verbose", "-v"], ["--help", "-h"]]


def commands() -> dict[str, Any]:
    def below(words: str, command: Any) -> dict[str, Any]:
        found = {words: command}
        for name, inner in getattr(command, "commands", {}).items():
            found |= below(f"{words} {name}".strip(), inner)
        return found

    return below("", typer.main.get_command(application()))


@pytest.mark.parametrize("name", commands())
def test_every_command_has_them_once(name: str) -> None:
    options = [one.opts for one in commands()[name].params]
    for shared in SHARED:
        assert options.count(shared) == 1, f"{shared} of '{name}'"


def test_json_before_the_command(world: World) -> None:
    assert world.run("--json", "list").data == {"instances": [], "dropped": []}
    assert world.run("--json", "list", "--json").data == {"instances": [], "dropped": []}
    world.run("create", "feat-x")
    refused = world.run("--json", "destroy", "feat-x", env=empty_engine(world))
    assert refused.exit_code == 64
    assert refused.error["code"] == "confirmation-needed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "nonsense"),
        ("nonsense", "--json"),
        ("create", "--json"),
        ("--json", "create"),
        ("create", "feat-x", "--slot", "ten", "--json"),
        ("--json", "create", "feat-x", "--slot", "11"),
        ("move", "--json", "feat-x"),
        ("list", "--json", "too", "many"),
        ("list", "--nonsense", "--json"),
        ("wait", "--for", "nonsense", "--json"),
        ("--quiet", "list", "--verbose", "--json"),
        ("logs", "--follow", "--json"),
    ],
)
def test_wrong_usage_wherever_json_stands(world: World, arguments: tuple[str, ...]) -> None:
    if arguments[0] == "logs":
        world.run("create", "feat-x")
        arguments = (*arguments, "-i", "feat-x")
    outcome = world.run(*arguments)
    assert outcome.exit_code == 64, outcome
    assert outcome.error["code"] == "usage"


@pytest.mark.parametrize(
    "arguments", [("lgos",), ("config", "shwo"), ("list", "--nonsense"), ("logs", "--tial", "3")]
)
def test_wrong_usage_ends_with_one_mark(world: World, arguments: tuple[str, ...]) -> None:
    """Whether something is suggested, and how, is another matter of each version of Typer."""
    outcome = world.run(*arguments)
    assert outcome.exit_code == 64, outcome
    message, hint = outcome.err.splitlines()
    assert message.startswith("error: No such ")
    assert message[-1] in ".?"
    assert message[-2] not in ".?"
    assert hint.startswith("hint: Run 'ktrdr-sandbox ")


def test_json_after_two_dashes_is_another_programs(world: World) -> None:
    outcome = world.run("list", "--", "--json")
    assert outcome.exit_code == 64
    assert outcome.out == ""
    assert outcome.err.startswith("error: Got unexpected extra argument")


@pytest.mark.parametrize("arguments", [("-q", "list"), ("list", "-q"), ("list", "--quiet")])
def test_quiet_leaves_results_and_errors(world: World, arguments: tuple[str, ...]) -> None:
    world.run("create", "feat-x")
    told = world.run("list")
    assert told.err.startswith("Docker does not answer")
    outcome = world.run(*arguments)
    assert (outcome.err, outcome.out) == ("", told.out)
    failed = world.run("-q", "status", "feat-x")
    assert failed.exit_code == 69
    assert failed.err.startswith("error: Docker does not answer")


def test_quiet_and_verbose_are_not_both(world: World) -> None:
    outcome = world.run("-q", "list", "-v")
    assert outcome.exit_code == 64
    assert outcome.err == (
        "error: --quiet and --verbose exclude one another.\n"
        "hint: Run 'ktrdr-sandbox list --help'.\n"
    )


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d\d s\)", "<t> s)", text)


@pytest.mark.parametrize("arguments", [("-v", "list"), ("list", "--verbose")])
def test_verbose_tells_every_command_with_its_end(world: World, arguments: tuple[str, ...]) -> None:
    world.run("create", "feat-x")
    outcome = world.run(*arguments, env=empty_engine(world))
    assert outcome.exit_code == 0, outcome
    (line,) = without_times(outcome.err).splitlines()
    assert line.startswith("ran (exit status 0, <t> s): docker --host unix:///")
    assert " ps --all --no-trunc --format " in line


def test_verbose_tells_of_git_and_of_what_failed(world: World) -> None:
    outcome = world.run("create", "feat-x", "-v", "--branch", "no..branch")
    assert outcome.exit_code == 64, outcome
    lines = without_times(outcome.err).splitlines()
    assert re.fullmatch(r"ran in \S+ \(exit status 0, <t> s\): git rev-parse .*", lines[0])
    assert any("(exit status 128, " in line and "git check-ref-format" in line for line in lines)
    assert lines[-1].startswith(("error: ", "hint: "))


def test_verbose_in_a_document_is_among_its_messages(world: World) -> None:
    world.run("create", "feat-x")
    outcome = world.run("list", "-v", "--json", env=empty_engine(world))
    (line,) = outcome.document["messages"]
    assert line.startswith("ran (exit status 0, ")


# -- --version and --help --------------------------------------------------------------------------


def test_the_versions_of_all_tools(world: World) -> None:
    outcome = world.run("--version", "--verbose", env=docker_script(world, VERSIONS))
    assert outcome.exit_code == 0, outcome
    first, python, git, *rest = outcome.out.splitlines()
    assert first == f"ktrdr-sandbox {__version__}"
    assert re.fullmatch(r"Python 3\.\d+\.\S+", python)
    assert re.fullmatch(r"git \d+\.\d+\S*", git)
    assert rest == ["Docker client 28", "Docker Engine 28", "Docker Compose 2.33.0"]


def test_tools_that_are_missing_or_silent(world: World) -> None:
    nothing = world.folder / "nothing"
    nothing.mkdir()
    missing = world.run("--version", "-v", "--json", env={"PATH": str(nothing)})
    tools = missing.data["tools"]
    assert [name for name, version in tools.items() if version] == ["python"]
    text = world.run("--version", "-v", env={"PATH": str(nothing)})
    assert text.exit_code == 0, text
    assert text.out.splitlines()[2:] == [
        "git missing",
        "Docker client missing",
        "Docker Engine missing",
        "Docker Compose missing",
    ]
    silent = """echo '{"Client":{"Version":"28"},"Server":null}'; exit 1"""
    told = world.run("-v", "--version", env=docker_script(world, silent))
    assert told.exit_code == 0, told
    assert "Docker Engine not answering at unix:///nowhere" in told.out
    odd = world.run("-v", "--version", "--json", env=docker_script(world, "echo '[nonsense'"))
    assert odd.data["tools"]["docker_client"] is None


def test_the_version_as_json(world: World) -> None:
    assert world.run("--json", "--version").data == {"version": __version__, "tools": None}


@pytest.mark.parametrize("arguments", [("up", "--help", "--json"), ("--json", "up", "-h")])
def test_help_as_json(world: World, arguments: tuple[str, ...]) -> None:
    outcome = world.run(*arguments)
    assert outcome.document["command"] == "--help"
    assert outcome.data["of"] == "ktrdr-sandbox up"
    assert outcome.data["text"] == world.run("up", "--help").stdout.rstrip("\n")


# -- schema and explain ----------------------------------------------------------------------------


def test_the_schema_is_printed(world: World) -> None:
    assert world.run("schema").stdout == SCHEMA_FILE.read_text(encoding="utf-8")
    assert world.run("schema", "--json").data["document"]["$id"] == "urn:ktrdr-sandbox:1"


def test_a_code_is_explained(world: World) -> None:
    outcome = world.run("explain", "port-conflict")
    assert outcome.exit_code == 0, outcome
    assert outcome.out == (
        "port-conflict: A host port of the slot is in use by something else.\n"
        "  What to do   End what holds it, or move the instance: "
        "'ktrdr-sandbox move NAME --slot N'.\n"
        "  Exit status  1; init 3, up 3, demo 3\n"
    )
    assert world.run("explain", "port-conflict", "--json").data == {
        "codes": [
            {
                "code": "port-conflict",
                "meaning": "A host port of the slot is in use by something else.",
                "remedy": "End what holds it, or move the instance: "
                "'ktrdr-sandbox move NAME --slot N'.",
                "exit_status": 1,
                "exit_status_of": {"init": 3, "up": 3, "demo": 3},
            }
        ]
    }


def test_all_codes_and_one_that_is_none(world: World) -> None:
    outcome = world.run("explain")
    assert outcome.out.startswith("CODE ")
    assert "\ngate-failed " in outcome.out
    unknown = world.run("explain", "nonsense")
    assert unknown.exit_code == 64
    assert unknown.err == (
        "error: There is no error code 'nonsense'.\nhint: Run 'ktrdr-sandbox explain' to see all.\n"
    )
