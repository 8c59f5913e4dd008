"""Standard streams that are closed, full, or read by somebody who has enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.docker_scripts import docker_script, empty_engine
from tests.support import documents
from tests.support.world import World

FULL: Final = Path("/dev/full")
PROGRAM: Final = (sys.executable, "-m", "ktrdr_sandbox")


def shell(world: World, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program with its streams as a shell's redirection leaves them."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, *arguments],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home), **empty_engine(world)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("--version",), ("--help",)])
def test_a_closed_stdout_is_told(world: World, arguments: tuple[str, ...]) -> None:
    done = shell(world, ">&-", *arguments)
    assert done.returncode == 73, done.stderr
    assert done.stderr == (
        "error: The result cannot be written to standard output: Bad file descriptor.\n"
    )


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--json"), ("status", "nobody", "--json")]
)
def test_a_full_disk_behind_stdout_is_told(world: World, arguments: tuple[str, ...]) -> None:
    done = shell(world, f">{FULL}", *arguments)
    if arguments[0] == "list":
        assert done.returncode == 73, done.stderr
        assert done.stderr == (
            "error: The result cannot be written to standard output: No space left on device.\n"
        )
    else:  # what failed first is what is told
        assert done.returncode == 66, done.stderr
        assert done.stderr.startswith("error: There is no instance 'nobody'.")


def test_a_closed_stderr_does_not_turn_messages_into_results(world: World) -> None:
    done = shell(world, "2>&-", "list", "--verbose")
    assert done.returncode == 0
    assert done.stdout == "No instances. Create one: ktrdr-sandbox create <name>\n"
    failed = shell(world, "2>&-", "status", "nobody")
    assert (failed.returncode, failed.stdout) == (66, "")


def test_files_do_not_take_the_place_of_closed_streams(world: World) -> None:
    """The registry would be opened as number 0, 1 or 2, and be printed into."""
    done = shell(world, "<&- >&- 2>&-", "create", "feat-x")
    assert done.returncode == 73
    assert list(world.registered()) == ["ktrdr--feat-x"]


def test_a_stderr_that_nobody_reads_ends_nothing(world: World) -> None:
    """`create 2>&1 >/dev/null | head -0`: the work is done, and the exit status says so."""
    world.repository  # noqa: B018  made before the program needs it
    with subprocess.Popen(
        [*PROGRAM, "-v", "create", "feat-x"],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stderr.close()
        printed = program.stdout.read()
    assert program.returncode == 0
    assert printed.startswith(b"Created ktrdr--feat-x")


@pytest.mark.parametrize(("arguments", "status"), [(("list",), 0), (("status", "nobody"), 66)])
def test_a_reader_that_has_enough_of_a_document(
    world: World, arguments: tuple[str, ...], status: int
) -> None:
    """Its leaving changes nothing of what the exit status says."""
    with subprocess.Popen(
        [*PROGRAM, *arguments, "--json"],
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        complaints = program.stderr.read()
    assert (complaints, program.returncode) == (b"", status)


# -- colours and widths ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("--help",), ("up", "--help"), ("list",), ("up", "feat-x"), ("init-shared",)]
)
def test_no_colour_on_a_pipe_even_where_it_is_forced(
    world: World, arguments: tuple[str, ...]
) -> None:
    """`run` of the world refuses every control sequence."""
    forced = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm"}
    engine = docker_script(world, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    world.run("create", "feat-x")
    outcome = world.run(*arguments, env={**forced, **engine})
    assert outcome.stdout + outcome.stderr != ""


@pytest.mark.parametrize("width", [52, 60])
def test_help_keeps_to_the_width(world: World, width: int) -> None:
    outcome = world.run("list", "--help", env={"COLUMNS": str(width)})
    assert outcome.exit_code == 0, outcome
    assert max(map(len, outcome.stdout.splitlines())) <= width


def test_an_interrupt_before_the_program_is_read(world: World) -> None:
    """Python's own start is long enough for a Ctrl-C; then it is told as promised, too."""
    script = (
        "import sys\n"
        "class Early:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ktrdr_sandbox.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Early())\n"
        "sys.argv = ['ktrdr-sandbox', 'list', '--json']\n"
        "from ktrdr_sandbox.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")
    document = json.loads(done.stdout)
    documents.check(document)
    assert document["error"]["code"] == "interrupted"
