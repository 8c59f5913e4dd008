"""env, url, run, exec and open: the whole output, and what others get."""

from __future__ import annotations

import ast
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrdr_sandbox.slots.port_map import get_ports
from tests.cli.docker_scripts import docker_script, engine_with
from tests.support.real_ktrdr import STATUS, real_ktrdr, script
from tests.support.terminal import terminal
from tests.support.world import World

SOURCE = Path(__file__).parents[2] / "src" / "ktrdr_sandbox"


@pytest.fixture
def feat_x(world: World, slot: int) -> Path:
    """The worktree of an instance, in the slot that the test holds."""
    made = world.run("create", "feat-x", "--slot", str(slot))
    assert made.exit_code == 0, made
    return world.path_of("feat-x")


def append(feat_x: Path, text: str) -> None:
    file = feat_x / ".env.sandbox"
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


# -- env -----------------------------------------------------------------------------------------


def test_env_is_the_file_byte_for_byte(world: World, feat_x: Path) -> None:
    file = feat_x / ".env.sandbox"
    file.write_text(file.read_text() + "\n\n# mine\nMY_TOKEN = 'a b'   # why\n\n")
    for arguments, cwd in ((["feat-x"], None), ([], feat_x), (["ktrdr--feat-x"], world.folder)):
        outcome = world.run("env", *arguments, cwd=cwd)
        assert (outcome.exit_code, outcome.stderr) == (0, ""), outcome
        assert outcome.stdout == file.read_text()
    assert "DB_PASSWORD=sandbox-ktrdr--feat-x\n" in outcome.stdout


def test_env_as_json_has_the_values_unhidden(world: World, feat_x: Path, slot: int) -> None:
    append(feat_x, "MY_TOKEN='a b'\n")
    data = world.run("env", "feat-x", "--json").data
    assert data["file"] == str(feat_x / ".env.sandbox")
    assert data["instance"]["id"] == "ktrdr--feat-x"
    values = data["environment"]
    assert values["DB_PASSWORD"] == "sandbox-ktrdr--feat-x"
    assert values["MY_TOKEN"] == "a b"
    assert values["KTRDR_API_URL"] == f"http://localhost:{8000 + slot}"
    assert values["KTRDR_SHARED_DIR"] == str(world.home / "shared")


def test_secrets_are_kept_in_no_other_result() -> None:
    """`disclosure` is the way around redaction, and `env` the only one to take it."""
    found = [
        (path.name, node.func.attr)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert [name for name, call in found if call == "disclosure"] == ["handing_over.py"]


HOSTILE = {
    "MY_BLANKS": " a  b ",
    "MY_QUOTES": 'it\'s "so"',
    "MY_DOLLARS": "$HOME `id` $(id) \\",
    "MY_GLOB": "*?[a-z]~!#",
    "MY_EMPTY": "",
}


def exported(world: World, text: str, *, shell: str = "sh") -> dict[str, str]:
    done = subprocess.run(
        [shell, "-c", f"{text}\nexec env -0"],
        cwd=world.folder,
        env={"PATH": os.environ["PATH"], "COMPOSE_FILE": "stale", "KTRDR_PORT_WEB_80": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_export_is_what_a_shell_reads(world: World, feat_x: Path, shell: str) -> None:
    for name, value in HOSTILE.items():
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        append(feat_x, f'{name}="{quoted}"\n')
    values = world.run("env", "feat-x", "--json").data["environment"]
    assert {name: values[name] for name in HOSTILE} == HOSTILE
    stale = {"COMPOSE_FILE": "stale", "KTRDR_PORT_WEB_80": "1"}
    outcome = world.run("env", "feat-x", "--export", env=stale)
    assert (outcome.exit_code, outcome.stderr) == (0, ""), outcome
    seen = exported(world, outcome.stdout, shell=shell)
    assert {name: seen.get(name) for name in values} == values
    assert not {"COMPOSE_FILE", "KTRDR_PORT_WEB_80"} & set(seen)


def test_a_key_that_is_no_name_never_reaches_a_shell(world: World, feat_x: Path) -> None:
    append(feat_x, "a;touch${IFS}bad=1\nMY-KEY=1\n")
    outcome = world.run("env", "feat-x", "--export")
    assert outcome.exit_code == 0, outcome
    assert outcome.err.startswith("No shell takes this as a name: ")
    assert "MY-KEY" in outcome.err
    exported(world, outcome.stdout)
    assert not (world.folder / "bad").exists()
    assert "bad" not in outcome.stdout


def test_a_lost_file_is_written_anew(world: World, feat_x: Path) -> None:
    file = feat_x / ".env.sandbox"
    before = file.read_text()
    file.unlink()
    outcome = world.run("env", cwd=feat_x)
    assert outcome.err == (
        "<world>/ktrdr--feat-x/.env.sandbox was missing and has been written anew.\n"
    )
    assert outcome.stdout == before == file.read_text()


@pytest.mark.parametrize(
    ("command", "status"),
    [(("env",), 1), (("env", "--export"), 1), (("run", "--", "true"), 78), (("url",), 1)],
)
def test_a_file_without_a_port(
    world: World, feat_x: Path, slot: int, command: tuple[str, ...], status: int
) -> None:
    (feat_x / ".env.sandbox").write_text(f"INSTANCE_ID=ktrdr--feat-x\nSLOT_NUMBER={slot}\n")
    outcome = world.run(*command, cwd=feat_x)
    assert (outcome.exit_code, outcome.stdout) == (status, ""), outcome
    assert outcome.err == (
        "error: <world>/ktrdr--feat-x/.env.sandbox does not tell the API's port: it has no "
        "KTRDR_API_PORT.\n"
        "hint: To have it written anew: remove that file, then run 'ktrdr-sandbox env'.\n"
        + ("hint: To aim elsewhere meanwhile: --port or --url.\n" if command == ("url",) else "")
    )


# -- url -----------------------------------------------------------------------------------------


def test_url_is_one_line(world: World, feat_x: Path, slot: int) -> None:
    here = world.run("url", cwd=feat_x / "src" if (feat_x / "src").is_dir() else feat_x)
    assert (here.exit_code, here.stdout, here.stderr) == (
        0,
        f"http://localhost:{8000 + slot}\n",
        "",
    )
    assert world.run("url").stdout == "http://localhost:8000\n"
    assert world.run("url", "--port", "8005", cwd=feat_x).stdout == "http://localhost:8005\n"
    assert world.run("url", "--url", "http://[::1]:9/api/v1/").stdout == "http://[::1]:9\n"


def test_url_says_why(world: World, feat_x: Path, slot: int) -> None:
    outcome = world.run("url", "--explain", cwd=feat_x, env={"KTRDR_API_PORT": "8000"})
    assert outcome.stdout == f"http://localhost:{8000 + slot}\n"
    assert outcome.err == (
        "KTRDR_API_PORT=8000 is ignored: <world>/ktrdr--feat-x/.env.sandbox says "
        f"http://localhost:{8000 + slot}.\n"
        "<world>/ktrdr--feat-x/.env.sandbox says so.\n"
    )
    document = world.run("url", "--json", cwd=feat_x, env={"KTRDR_API_PORT": "8000"}).document
    assert document["data"] == {
        "url": f"http://localhost:{8000 + slot}",
        "source": "file",
        "why": f"{feat_x}/.env.sandbox says so",
    }
    assert len(document["messages"]) == 1


def test_wrong_targets(world: World) -> None:
    assert world.run("url", "--port", "0").exit_code == 64
    assert world.run("url", "--url", "nonsense").exit_code == 64
    by_variable = world.run("url", env={"KTRDR_API_URL": "nonsense"})
    assert by_variable.exit_code == 78
    assert by_variable.err == (
        "error: The variable KTRDR_API_URL: 'nonsense' does not begin with http:// or https://.\n"
        "hint: unset KTRDR_API_URL\n"
    )


# -- run -----------------------------------------------------------------------------------------


def test_run_gives_what_compose_gets_and_the_address(world: World, feat_x: Path, slot: int) -> None:
    found = real_ktrdr(world.folder / "tool")
    shell = {
        "COMPOSE_FILE": "/stale/compose.yml",
        "COMPOSE_PROJECT_NAME": "ktrdr--stale",
        "KTRDR_API_PORT": "8009",
        "KTRDR_API_URL": "http://localhost:8009",
        "KTRDR_WORKER_PORT_9": "1",
        "KTRDR_PORT_WEB_80": "1",
        "DOCKER_CONTEXT": "stale",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317",
        "MY_OWN": "stays",
    }
    outcome = world.run(
        "run", "-i", "feat-x", "--", str(found.path), "a b", "--json", "-i", env=shell
    )
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (STATUS, "", ""), outcome
    assert found.arguments == [b"a b", b"--json", b"-i"]
    assert found.cwd == world.repository.root
    seen = found.environment
    values = world.run("env", "feat-x", "--json").data["environment"]
    telemetry = f"http://localhost:{4317 + slot}"
    assert values["OTLP_ENDPOINT"] == "http://jaeger:4317", "in a container"
    assert {name: seen.get(name) for name in values} == {**values, "OTLP_ENDPOINT": telemetry}
    assert seen["OTEL_EXPORTER_OTLP_ENDPOINT"] == telemetry
    assert seen["JAEGER_URL"] == f"http://localhost:{16686 + slot}"
    assert seen["GRAFANA_URL"] == f"http://localhost:{3000 + slot}"
    assert seen["PROMETHEUS_URL"] == f"http://localhost:{9090 + slot}"
    assert seen["COMPOSE_PROJECT_NAME"] == "ktrdr--feat-x"
    assert seen["KTRDR_API_URL"] == f"http://localhost:{8000 + slot}"
    assert seen["MY_OWN"] == "stays"
    assert seen["DOCKER_HOST"] == os.environ["DOCKER_HOST"]
    gone = ("COMPOSE_FILE", "KTRDR_WORKER_PORT_9", "KTRDR_PORT_WEB_80", "DOCKER_CONTEXT")
    assert not set(gone) & set(seen)
    assert found.ignored_signals == set()


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (("make", "-n", "--json"), ["make", "-n", "--json"]),
        (("--", "make", "--", "x"), ["make", "--", "x"]),
        (("--", "--odd"), ["--odd"]),
    ],
)
def test_what_follows_the_command_is_its_own(
    world: World, feat_x: Path, arguments: tuple[str, ...], seen: list[str]
) -> None:
    folder = world.folder / "bin"
    for name in ("make", "--odd"):
        script(folder / name, 'printf \'%s\\n\' "${0##*/}" "$@"')
    path = f"{folder}:{os.environ['PATH']}"
    outcome = world.run("run", *arguments, cwd=feat_x, env={"PATH": path})
    assert outcome.exit_code == 0, outcome
    assert outcome.stdout.splitlines() == seen


def test_run_of_nothing_and_of_what_cannot_be_run(world: World, feat_x: Path) -> None:
    plain = world.folder / "plain"
    plain.write_text("echo\n")
    cases = {
        (): (64, "error: There is nothing to run."),
        ("no-such-command",): (127, "error: no-such-command: no such command."),
        ("/gone/command",): (127, "error: /gone/command: no such command."),
        (str(plain),): (126, "error: <world>/plain cannot be executed: Permission denied."),
        (str(world.folder),): (126, "error: <world> cannot be executed: Permission denied."),
    }
    for command, (status, told) in cases.items():
        outcome = world.run("run", "--", *command, cwd=feat_x)
        assert (outcome.exit_code, outcome.stdout) == (status, ""), outcome
        assert outcome.err.splitlines()[0] == told
    missing = world.run("run", "--json", "--", "no-such-command", cwd=feat_x)
    assert missing.error["code"] == "command-not-found"
    assert world.run("run", "--", "true").exit_code == 66
    assert world.run("run", "-i", "nobody", "--", "true").exit_code == 66


def test_run_becomes_the_command(world: World, feat_x: Path) -> None:
    code = "import signal,sys,time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(42))\n"
    code += "import os\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", "run", "--", sys.executable, "-c", code],
        cwd=feat_x,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 42


# -- exec ----------------------------------------------------------------------------------------


def test_exec_without_anything_running(world: World, feat_x: Path) -> None:
    outcome = world.run("exec", "backend", "sh", cwd=feat_x, env=docker_script(world, "exit 0"))
    assert outcome.exit_code == 69, outcome
    assert outcome.err == (
        "error: Nothing of ktrdr--feat-x is running.\nhint: Start it: ktrdr-sandbox up feat-x\n"
    )


def test_exec_of_what_is_not_there_or_not_running(world: World, feat_x: Path) -> None:
    uuid = world.registered()["ktrdr--feat-x"]["uuid"]
    engine = engine_with(
        world,
        {"uuid": uuid, "service": "db"},
        {"uuid": uuid, "service": "backend", "state": "exited", "status": "Exited (1)"},
    )
    unknown = world.run("exec", "web", "sh", cwd=feat_x, env=engine)
    assert (unknown.exit_code, unknown.err) == (
        64,
        "error: ktrdr--feat-x has no service 'web'. Running: db.\n",
    )
    ended = world.run("exec", "backend", "sh", cwd=feat_x, env=engine)
    assert ended.exit_code == 69
    assert ended.err == (
        "error: backend of ktrdr--feat-x is not running (exited). Running: db.\n"
        "hint: See why: ktrdr-sandbox logs backend -i feat-x\n"
        "hint: Start it: ktrdr-sandbox up feat-x\n"
    )
    assert world.run("shell", cwd=feat_x, env=engine).err == ended.err
    as_json = world.run("exec", "--json", "backend", "sh", cwd=feat_x, env=engine)
    assert as_json.error["details"]["running"] == ["db"]
    nothing = world.run("exec", "db", cwd=feat_x, env=engine)
    assert (nothing.exit_code, nothing.err) == (
        64,
        "error: There is nothing to run.\nhint: For example: ktrdr-sandbox exec db sh\n",
    )
    from_afar = world.run("exec", "-i", "feat-x", "db")
    assert "hint: For example: ktrdr-sandbox exec -i feat-x db sh\n" in from_afar.err
    from_afar = world.run("run", "-i", "feat-x")
    assert "hint: For example: ktrdr-sandbox run -i feat-x -- make test-e2e\n" in from_afar.err


# -- open ----------------------------------------------------------------------------------------


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def started_once(world: World, slot: int, *roles: str) -> None:
    """What `up` keeps of a stack with these services, one of them in a profile that is off."""
    entry = world.registered()["ktrdr--feat-x"]
    known = get_ports(slot)
    ports = [
        {
            "service": f"the-{role}",
            "target": 1,
            "protocol": "tcp",
            "host_ip": "127.0.0.1",
            "published": known[role],
            "role": role,
            "variable": role.upper(),
        }
        for role in (*roles, "jaeger_ui")
    ]
    document = {
        "uuid": entry["uuid"],
        "slot": slot,
        "services": [f"the-{role}" for role in roles],
        "ports": ports,
        "images": [],
        "inputs": {},
    }
    file = world.home / "sandbox" / "instances" / "ktrdr--feat-x" / "stack.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))


def test_open_without_a_terminal_prints(world: World, feat_x: Path, slot: int) -> None:
    started_once(world, slot, "backend", "grafana")
    for tool, port in (("api", 8000 + slot), ("grafana", 3000 + slot)):
        with listening(port):
            outcome = world.run("open", tool, cwd=feat_x, env={"BROWSER": "false"})
            data = world.run("open", tool, "-i", "feat-x", "--json").data
        assert outcome.exit_code == 0, outcome
        assert outcome.stdout == f"http://localhost:{port}\n"
        assert outcome.err == "Not opened: this is no terminal.\n"
        role = "backend" if tool == "api" else tool
        url = f"http://localhost:{port}"
        assert data == {"tool": tool, "url": url, "service": f"the-{role}"}


def test_open_what_is_not_there(world: World, feat_x: Path, slot: int) -> None:
    never = world.run("open", cwd=feat_x)
    assert never.exit_code == 69
    assert never.err == (
        "error: ktrdr--feat-x has not been started in this slot.\n"
        "hint: Start it: ktrdr-sandbox up feat-x\n"
    )
    started_once(world, slot, "backend", "grafana")
    for tool in ("prometheus", "jaeger"):  # not in the model; in a profile that is off
        lacking = world.run("open", tool, cwd=feat_x)
        assert (lacking.exit_code, lacking.err) == (
            64,
            f"error: The stack of ktrdr--feat-x has no {tool}. It has: api, grafana.\n",
        )
    silent = world.run("open", "grafana", cwd=feat_x)
    assert silent.exit_code == 69
    assert silent.err == (
        f"error: Nothing answers at http://localhost:{3000 + slot}, where the-grafana of "
        "ktrdr--feat-x belongs.\nhint: Start it: ktrdr-sandbox up feat-x\n"
    )
    wrong = world.run("open", "kibana", cwd=feat_x)
    assert (wrong.exit_code, wrong.err) == (
        64,
        "error: There is no tool 'kibana'. Tools: api, grafana, jaeger, prometheus.\n",
    )


@pytest.mark.parametrize("browser", ["works", "fails", "none"])
def test_open_on_a_terminal(world: World, feat_x: Path, slot: int, browser: str) -> None:
    started_once(world, slot, "backend")
    note = world.folder / "opened"
    status = 0 if browser == "works" else 1
    command = script(
        world.folder / "browser", f'echo "$1" > {shlex.quote(str(note))}; exit {status}'
    )
    drop = {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"}
    given = {name: value for name, value in os.environ.items() if name not in drop}
    given |= {"KTRDR_HOME": str(world.home), "NO_COLOR": "1"}
    given |= {} if browser == "none" else {"BROWSER": str(command)}
    argv = [sys.executable, "-m", "ktrdr_sandbox", "open"]
    with (
        listening(8000 + slot),
        terminal(argv, cwd=feat_x, environment=given) as shown,
    ):
        ended, _ = shown.end()
    url = f"http://localhost:{8000 + slot}"
    told = {
        "works": [],
        "fails": ["Not opened: the browser could not be started."],
        "none": ["Not opened: there is no display."],
    }
    assert (ended, shown.lines) == (0, [url, *told[browser]])
    assert note.exists() == (browser != "none")
    if note.exists():
        assert note.read_text() == f"{url}\n"
