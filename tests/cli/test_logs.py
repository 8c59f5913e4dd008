"""logs: which lines, from whom, in what colour, and how it ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.docker_scripts import _listed, docker_script
from tests.support.processes import is_alive
from tests.support.terminal import CONTROL_C, terminal
from tests.support.world import World

STAMP = "2026-01-01T00:00:{:02d}.000000000Z"
LINES = {
    "db": [f"{STAMP.format(2)} ready", f"{STAMP.format(4)} closed"],
    "api": [f"{STAMP.format(1)} one", f"{STAMP.format(3)} two"],
}


def talking(world: World, *, state: str = "running", endless: bool = False) -> dict[str, str]:
    """An engine with two containers of feat-x that have printed LINES.

    `endless`: whoever follows waits for more.
    """
    world.run("create", "feat-x")
    uuid = world.registered()["ktrdr--feat-x"]["uuid"]
    cases = []
    for service, lines in LINES.items():
        file = world.folder / f"log-of-{service}"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        identity = f"ktrdr--feat-x-{service}-1".encode().hex()  # as in `_listed`
        cases.append(f'*" {identity} "*) cat {shlex.quote(str(file))};;')
    listing = world.folder / "ps"
    rows = [_listed(uuid=uuid, service=service, state=state) for service in LINES]
    listing.write_text("\n".join(rows) + "\n", encoding="utf-8")
    rest = 'case " $* " in *--follow*) exec sleep 300;; esac' if endless else "true"
    return docker_script(
        world,
        f'case " $* " in *" ps "*) exec cat {shlex.quote(str(listing))};; esac\n'
        'case " $* " in\n' + "\n".join(cases) + f"\nesac\n{rest}",
    )


def test_lines_of_all_by_time(world: World) -> None:
    env = talking(world)
    shown = world.run("logs", "-i", "feat-x", env=env)
    assert (shown.exit_code, shown.err) == (0, "")
    assert shown.out == "api-1 | one\ndb-1  | ready\napi-1 | two\ndb-1  | closed\n"


def test_of_containers_that_have_stopped(world: World) -> None:
    env = talking(world, state="exited")
    assert world.run("logs", "api", "-i", "feat-x", env=env).out == "api-1 | one\napi-1 | two\n"


def test_with_the_time(world: World) -> None:
    shown = world.run("logs", "db", "api", "-t", "-i", "feat-x", env=talking(world))
    assert shown.stdout.splitlines()[0] == "api-1 | 2026-01-01T00:00:01.000000000Z one"


def test_a_service_that_is_not_there(world: World) -> None:
    refused = world.run("logs", "api", "redis", "-i", "feat-x", env=talking(world))
    assert (refused.exit_code, refused.out) == (1, "")
    assert refused.err == "error: ktrdr--feat-x has no service 'redis'. Services: api, db.\n"


def test_since_a_time_as_json(world: World) -> None:
    env = talking(world)
    shown = world.run("logs", "-i", "feat-x", "--since", "10m", "--json", env=env)
    assert shown.data == {
        "instance": "ktrdr--feat-x",
        "containers": [
            {"name": "ktrdr--feat-x-db-1", "service": "db", "lines": ["ready", "closed"]},
            {"name": "ktrdr--feat-x-api-1", "service": "api", "lines": ["one", "two"]},
        ],
    }


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_since_something_that_is_no_time(world: World, more: tuple[str, ...]) -> None:
    talking(world)
    ps = world.folder / "ps"
    env = docker_script(
        world,
        f'case " $* " in *" ps "*) exec cat {shlex.quote(str(ps))};; esac\n'
        'echo "invalid value for \\"since\\": failed to parse value as time" >&2; exit 1',
    )
    refused = world.run("logs", "-i", "feat-x", "--since", "soon", *more, env=env)
    assert refused.exit_code == 64, refused
    if more:
        assert refused.error["message"] == "'soon' is no time and no duration."
        return
    assert refused.stdout == ""
    assert refused.stderr == (
        "error: 'soon' is no time and no duration.\n"
        "hint: Write it like 10m, 2h30m or 2026-01-31T13:00:00Z.\n"
    )


def test_following_has_no_end_to_put_in_a_document(world: World) -> None:
    refused = world.run("logs", "-f", "-i", "feat-x", "--json", env=talking(world))
    assert refused.exit_code == 64, refused
    assert refused.error["message"] == (
        "--json goes with --tail and --since, not with --follow, which has no end."
    )


def on_terminal(world: World, *words: str, **more: str) -> str:
    environment = {**os.environ, "KTRDR_HOME": str(world.home), **talking(world), **more}
    argv = [sys.executable, "-m", "ktrdr_sandbox", "logs", "-i", "feat-x", *words]
    with terminal(argv, cwd=world.repository.root, environment=environment) as shown:
        status, _ = shown.end()
    assert status == 0, shown.text
    return shown.raw.decode().replace("\r\n", "\n")


def test_a_colour_for_each_service_on_a_terminal(world: World) -> None:
    assert on_terminal(world) == (
        "\x1b[36mapi-1 |\x1b[0m one\n"
        "\x1b[33mdb-1  |\x1b[0m ready\n"
        "\x1b[36mapi-1 |\x1b[0m two\n"
        "\x1b[33mdb-1  |\x1b[0m closed\n"
    )


def test_no_colour_for_who_wants_none(world: World) -> None:
    assert "\x1b" not in on_terminal(world, NO_COLOR="1")


@contextmanager
def following(world: World) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "logs", "-f", "-i", "feat-x"],
        cwd=world.repository.root,
        env={**os.environ, "KTRDR_HOME": str(world.home), **talking(world, endless=True)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        try:
            yield program
        finally:
            program.kill()
            assert _others_in_session(program.pid) == []


def _others_in_session(session: int) -> list[int]:
    """What of the session is left a moment after its leader has ended."""
    for _ in range(100):
        processes = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]
        found = [pid for pid in processes if pid != session and _is_in(pid, session)]
        if not found:
            break
        time.sleep(0.1)
    return found


def _is_in(pid: int, session: int) -> bool:
    try:
        return os.getsid(pid) == session and is_alive(pid)
    except ProcessLookupError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_following_at_once_and_without_a_word(
    world: World, number: signal.Signals
) -> None:
    with following(world) as program:
        assert program.stdout is not None
        for _ in range(4):
            assert program.stdout.readline()
        began = time.monotonic()
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
        assert time.monotonic() - began < 10
    assert (program.returncode, out, err) == (130, "", "")


def test_control_c_on_a_terminal(world: World) -> None:
    environment = {**os.environ, "KTRDR_HOME": str(world.home), **talking(world, endless=True)}
    argv = [sys.executable, "-m", "ktrdr_sandbox", "logs", "-f", "-i", "feat-x"]
    with terminal(argv, cwd=world.repository.root, environment=environment) as shown:
        shown.until("closed")
        shown.type(CONTROL_C)
        status, _ = shown.end()
    assert status == 130
    assert shown.lines[-1] in ("^C", "db-1  | closed")


def test_a_reader_that_goes_ends_following_though_no_line_comes(world: World) -> None:
    with following(world) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        for _ in range(4):
            assert program.stdout.readline()
        program.stdout.close()
        assert program.wait(timeout=60) == 0
        assert program.stderr.read() == ""
