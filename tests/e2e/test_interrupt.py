"""Ctrl-C on a terminal while a stack comes up: the prompt is back and nothing goes on behind it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.support.http import eventually
from tests.support.stacks import Sandbox, Stack, docker, git, sandbox, token
from tests.support.terminal import CONTROL_C, Terminal, terminal

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(300),
]

PROMPT_BACK = 10.0
"""Seconds: wanted are two, and half of one is usual. A busy machine is slow, not broken."""

HANGS = "[backend]\nhang = true\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("interrupt") / "place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="module")
def created(place: Sandbox, mark: str) -> Stack:
    """With its image built, so that a start begins at once."""
    stack = place.create(f"{mark}-int")
    place.up(stack, "--no-wait").expect(0)
    return stack


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """An instance that is down and has the files of its branch."""
    place.run("down", created.name, "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    return created


@pytest.fixture
def screen(place: Sandbox, stack: Stack) -> Iterator[Terminal]:
    """`up` of a stack that never gets ready, on a terminal."""
    (stack.path / "config" / "sample.toml").write_text(HANGS, encoding="utf-8")
    argv = [*place.program, "up", stack.name, "--verbose"]
    with terminal(argv, cwd=place.repository, environment=place.environment) as shown:
        yield shown


def ended(screen: Terminal) -> str:
    """What was told at the end, by an `up` that was interrupted and left nothing running."""
    code, seconds = screen.end()
    assert code == 130, screen.text
    assert seconds < PROMPT_BACK, screen.text
    assert screen.session() == [], "something went on behind the prompt"
    assert "Traceback" not in screen.text, screen.text
    told, hint = screen.lines[-2:]
    assert hint == "hint: 'up' goes on with it, 'down' stops it."
    return told.removeprefix("^C")


def states(stack: Stack) -> list[str]:
    return [container["State"]["Status"] for container in stack.containers()]


def is_true(told: str, stack: Stack) -> bool:
    """Whether it says how things stand, or that the engine was still at work on a start."""
    found = states(stack)
    if not found:
        return told == "error: Interrupted: it has no container."
    running = f"error: Interrupted: {found.count('running')} of its {len(found)} containers run."
    return told == running or told.endswith(" run so far.")


MOMENTS = {
    "created": r"Created",
    "waiting": r"waiting for HTTP 200",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_it_is_doing(screen: Terminal, stack: Stack, moment: str) -> None:
    screen.until(MOMENTS[moment])
    screen.type(CONTROL_C)
    assert is_true(ended(screen), stack)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_program_alone(
    screen: Terminal, stack: Stack, number: signal.Signals
) -> None:
    """As from a script or a session that ends: the commands it has started get none."""
    screen.until("Starting")
    screen.signal(number)
    assert is_true(ended(screen), stack)


def test_ctrl_c_twice(screen: Terminal) -> None:
    screen.until("Started")
    screen.type(CONTROL_C * 2)
    code, seconds = screen.end()
    assert code == 130, screen.text
    assert seconds < PROMPT_BACK
    assert screen.session() == []
    assert "Traceback" not in screen.text, screen.text
    assert re.search("^error: Interrupted", screen.text, re.M), screen.text


def test_the_next_up_goes_on_with_it(place: Sandbox, stack: Stack, screen: Terminal) -> None:
    screen.until("Starting")
    screen.type(CONTROL_C)
    assert is_true(ended(screen), stack)
    before = {container["Id"] for container in stack.containers()}
    git("checkout", "--quiet", "--", ".", cwd=stack.path)
    place.up(stack).expect(0)
    assert {container["Id"] for container in stack.containers()} == before


def test_the_next_down_takes_it_away(place: Sandbox, stack: Stack, screen: Terminal) -> None:
    screen.until("Creating")
    screen.type(CONTROL_C)
    assert is_true(ended(screen), stack)
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    assert stack.leftovers() == []


def test_while_an_image_is_built(place: Sandbox, stack: Stack) -> None:
    step = f"sleep 600 # {token()}"
    dockerfile = stack.path / "docker" / "backend" / "Dockerfile.dev"
    with dockerfile.open("a", encoding="utf-8") as file:
        file.write(f"RUN {step}\n")
    argv = [*place.program, "up", stack.name, "--build"]
    with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
        screen.until(f"RUN {step}")
        eventually(lambda: step in docker("ps", "--no-trunc", "--format", "{{.Command}}"))
        screen.type(CONTROL_C)
        assert ended(screen) == "error: Interrupted: it has no container."
    eventually(lambda: step not in docker("ps", "--no-trunc", "--format", "{{.Command}}"))


def test_a_health_command_that_hangs_is_not_waited_for(place: Sandbox, stack: Stack) -> None:
    stack.edit(
        "deploy/environments/local/docker-compose.yml",
        '"pg_isready -U ${DB_USER:-ktrdr} -d ${DB_NAME:-ktrdr}"',
        '"sleep 600"',
    )
    argv = [*place.program, "up", stack.name]
    with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
        screen.until(r"database +\d+\.\d s  Database ready")
        screen.signal(signal.SIGTERM)
        assert is_true(ended(screen), stack)  # the backend starts as soon as the database answers
