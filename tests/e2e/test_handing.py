"""run, exec, env and open on a real stack, and `ktrdr` aimed at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.http import get_json
from tests.support.real_ktrdr import script
from tests.support.stacks import Sandbox, Stack, docker, run
from tests.support.terminal import terminal

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
]

ASK = (
    "import os, urllib.request as r; "
    "print('told', r.urlopen(os.environ['KTRDR_API_URL'] + '/api/v1/info').read().decode())"
)
STALE = {"KTRDR_API_URL": "http://localhost:8000", "COMPOSE_PROJECT_NAME": "ktrdr--stale"}


@pytest.fixture
def stack(light: Sandbox, mark: str) -> Stack:
    made = light.create(f"{mark}-hand")
    light.up(made).expect(0)
    return made


def test_a_running_stack_handed_to_others(light: Sandbox, stack: Stack, tmp_path: Path) -> None:
    the_environment(light, stack)
    commands_inside(light, stack)
    the_terminal_inside(light, stack)
    the_pages(light, stack)
    the_alias(light, stack, tmp_path)
    what_does_not_run(light, stack)


def the_environment(light: Sandbox, stack: Stack) -> None:
    """A command with it reaches this stack, by HTTP and by Docker."""
    argv = ("run", "-i", stack.name, "--", sys.executable, "-c", ASK)
    assert stack.id in light.run(*argv, environment=STALE).expect(0).stdout
    docker_ps = ("run", "--", "docker", "compose", "ps", "--all", "--quiet")
    listed = light.run(*docker_ps, cwd=stack.path, environment=STALE).expect(0).stdout.split()
    assert set(listed) == {container["Id"] for container in stack.containers()}
    exported = light.run("env", stack.name, "--export").expect(0).stdout
    asking = f'{exported}\nexec "$0" -c "$1"'
    shell = ["sh", "-c", asking, sys.executable, ASK]
    answer = run(shell, cwd=light.folder, environment=light.environment).expect(0)
    assert stack.id in answer.stdout


def commands_inside(light: Sandbox, stack: Stack) -> None:
    psql = ("exec", "-i", stack.name, "db", "psql", "-U", "ktrdr", "-tA", "-c", "select 6 * 7")
    assert light.run(*psql).expect(0).stdout == "42\n"
    assert light.run("exec", "backend", "sh", "-c", "exit 9", cwd=stack.path).code == 9
    piped = subprocess.run(
        [*light.program, "exec", "-i", stack.name, "backend", "sh", "-c", "tr a-z A-Z; exit 3"],
        cwd=light.folder,
        env=light.environment,
        input="through the pipe\n",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (piped.returncode, piped.stdout) == (3, "THROUGH THE PIPE\n"), piped.stderr
    lacking = light.run("exec", "-i", stack.name, "db", "no-such-command")
    assert lacking.code in (126, 127), str(lacking)


def the_terminal_inside(light: Sandbox, stack: Stack) -> None:
    # the engine gives the terminal its size a moment after the command has started
    sized = "while [ \"$(stty size)\" = '0 0' ]; do sleep 0.1; done; stty size"
    command = f"{sized}; tty; read word; echo got $word; exit 5"
    argv = [*light.program, "exec", "backend", "sh", "-c", command]
    with terminal(argv, cwd=stack.path, environment=light.environment) as shown:
        shown.until(r"/dev/pts/\d")
        shown.type(b"typed\n")
        status, _ = shown.end()
    assert status == 5, shown.text
    assert "40 100" in shown.lines
    assert "got typed" in shown.lines


def the_pages(light: Sandbox, stack: Stack) -> None:
    page = light.run("open", "-i", stack.name).expect(0).stdout
    assert page == f"http://localhost:{stack.ports['backend']}\n"
    assert get_json(f"{page.strip()}/api/v1/info")["instance_id"] == stack.id
    none = light.run("open", "grafana", cwd=stack.path).expect(64)
    assert none.stderr == f"error: The stack of {stack.id} has no grafana. It has: api.\n"


def the_alias(light: Sandbox, stack: Stack, tmp_path: Path) -> None:
    real = script(tmp_path / "real" / "ktrdr", f'exec "{sys.executable}" -c "{ASK}"')
    environment = light.environment | {"PATH": f"{real.parent}:/usr/bin:/bin"}
    argv = [sys.executable, "-m", "ktrdr_sandbox.alias", "info"]
    done = run(argv, cwd=stack.path, environment=environment).expect(0)
    assert stack.id in done.stdout


def what_does_not_run(light: Sandbox, stack: Stack) -> None:
    docker("stop", "--time", "0", stack.container("backend")["Id"])
    ended = light.run("exec", "backend", "true", cwd=stack.path).expect(69)
    assert ended.stderr.startswith(
        f"error: backend of {stack.id} is not running (exited). Running: db, training-worker-1.\n"
    )
    unknown = light.run("exec", "web", "true", "--json", cwd=stack.path).expect(64)
    assert "no service 'web'" in unknown.stderr  # --json belongs to the command there
    told = light.run("exec", "--json", "web", "true", cwd=stack.path).expect(64)
    assert told.error["details"]["running"] == ["db", "training-worker-1"]
    light.run("open", cwd=stack.path).expect(69)
