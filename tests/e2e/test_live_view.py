"""How a start is shown: drawn in place on a terminal, in whole lines on a pipe."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.image_registry import image_registry
from tests.support.stacks import Sandbox, Stack, git, sample_images, sandbox, tiny_image
from tests.support.terminal import terminal

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(300),
]

CHECKS = ("containers", "database", "backend", "workers")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("view") / "place") as made:
        made.make_repository(light=True)
        # Neither a schema to migrate nor an empty shared folder is told of here.
        made.state.mkdir(parents=True)
        (made.state / "config.toml").write_text('migrate = "never"\n', encoding="utf-8")
        data = made.state.parent / "shared" / "data"
        data.mkdir(parents=True)
        (data / "AAPL_1d.csv").touch()
        yield made


@pytest.fixture(scope="module")
def created(place: Sandbox, mark: str) -> Stack:
    stack = place.create(f"{mark}-view")
    place.up(stack, "--no-wait").expect(0)  # builds its image, which is shown in other ways
    return stack


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """An instance that is down and has the files of its branch."""
    place.run("down", created.name, "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    return created


def report(stack: Stack) -> list[str]:
    """What is told at the end; the time it took is left out."""
    return [
        "Startability Gate: PASSED",
        "✓ Containers running",
        "✓ Database ready",
        "✓ Backend healthy",
        "✓ Workers registered",
        f"{stack.id} is ready after <t> s",
        f"  API       http://localhost:{stack.ports['backend']}",
        f"  Database  localhost:{stack.ports['db']}",
        f"  Workers   localhost:{stack.ports['worker_base']}",
    ]


def without_time(line: str) -> str:
    return re.sub(r"\d+\.\d s", "<t> s", line)


def test_a_terminal_shows_each_check_with_its_time_and_what_it_waits_for(
    place: Sandbox, stack: Stack
) -> None:
    argv = [*place.program, "up", stack.name]
    with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
        assert screen.end()[0] == 0, screen.text
    assert re.search(r"start +\d+\.\d s  Container \S+ Creat", screen.text), screen.text
    for check in CHECKS:
        assert re.search(rf"\S  {check} +\d+\.\d s  \S", screen.text), screen.text
    assert re.search(r"containers +\d+\.\d s  \d of 3 run, waiting for ", screen.text)
    end = [without_time(line) for line in screen.lines[-len(report(stack)) :]]
    assert end == report(stack)
    assert "\x1b[?25h" in screen.raw.decode(), "the cursor is back"


def test_a_pipe_gets_whole_lines_and_nothing_else(place: Sandbox, stack: Stack) -> None:
    shown = place.run("up", stack.name).expect(0)
    assert sorted(without_time(line) for line in shown.stderr.splitlines()) == sorted(
        f"  {check}: ok (<t> s)" for check in CHECKS
    )
    assert [without_time(line) for line in shown.stdout.splitlines() if line] == report(stack)
    assert "\x1b" not in shown.stdout + shown.stderr


def test_a_failure_leaves_its_report_on_the_terminal(place: Sandbox, stack: Stack) -> None:
    stack.misbehave("backend", "exit_code_at_start = 3")
    argv = [*place.program, "up", stack.name]
    with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
        assert screen.end()[0] == 2, screen.text
    shown = screen.lines[screen.lines.index("Startability Gate: FAILED") :]
    assert shown[1:3] == ["✗ Containers not running", "  → backend exited (3)"]
    assert "✓ Database ready" in shown
    assert "✗ Workers not registered" in shown
    assert shown[-1] == f"  → Next: ktrdr-sandbox logs backend -i {stack.name}"


def pull(stack: Stack, reference: str) -> None:
    """Have the stack's database come from a registry."""
    image = sample_images()["timescale/timescaledb:latest-pg16"]
    stack.edit("deploy/environments/local/docker-compose.yml", image, reference)


def test_a_pull_is_shown_in_a_few_lines(place: Sandbox, stack: Stack) -> None:
    """Not in one for each layer and tick. The image is no database: how that ends is not asked."""
    with image_registry(tiny_image(), seconds=7) as reference:
        pull(stack, reference)
        shown = place.run("up", stack.name, "--timeout", "1")
        told = [line.strip() for line in shown.stderr.splitlines()]
        assert told[0] == f"Image {reference} Pulling", str(shown)
        assert re.fullmatch(r"Pulling: 0 of 2 layers, \d\.\d MB", told[1]), str(shown)
        assert told.count(f"Image {reference} Pulled") == 1
        assert "Downloading" not in shown.stderr
        place.run("down", stack.name, "--volumes", "--now").expect(0)


def test_a_terminal_shows_how_far_a_pull_is(place: Sandbox, stack: Stack) -> None:
    with image_registry(tiny_image(), seconds=2) as reference:
        pull(stack, reference)
        argv = [*place.program, "up", stack.name, "--timeout", "1"]
        with terminal(argv, cwd=place.repository, environment=place.environment) as screen:
            screen.end()
        assert re.search(r"start +\d+\.\d s  Pulling: \d of 2 layers, \d\.\d MB", screen.text)
        assert "Downloading" not in screen.text
        place.run("down", stack.name, "--volumes", "--now").expect(0)
