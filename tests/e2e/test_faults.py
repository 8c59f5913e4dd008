"""What can go wrong with a stack, made to go wrong: which check names it, how, and with what cause.

The time limit of most is one that no passing machine needs, and the gate is to end long before it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import eventually
from tests.support.processes import foreign_listener
from tests.support.stacks import Outcome, Sandbox, Stack, docker, docker_logs, git, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("shared stack"),
    pytest.mark.timeout(300),
]

COMPOSE = "deploy/environments/local/docker-compose.yml"
BACKEND = "    container_name: ktrdr-backend\n"
WORKER = "    container_name: ktrdr-training-worker-1\n"
VOLUME = "volumes:\n  postgres_data:\n"
RESTARTED = "    restart: unless-stopped\n"

LIMIT = 200.0
"""Seconds given to what fails for good."""
AT_ONCE = 100.0
"""Seconds that are far from both that and the few which it takes."""
LOG_LINES = 10
"""Log lines that the report gives for a service that failed."""


def in_file(anchor: str, added: str) -> Callable[[Stack], None]:
    """Lines of the Compose file that come after others."""
    return lambda stack: stack.edit(COMPOSE, anchor, anchor + added)


def in_knobs(section: str, knob: str) -> Callable[[Stack], None]:
    return lambda stack: stack.misbehave(section, knob)


def both(*steps: Callable[[Stack], None]) -> Callable[[Stack], None]:
    def make(stack: Stack) -> None:
        for step in steps:
            step(stack)

    return make


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How it is made, and how it must be told. `log` is part of a line that the report quotes,
    `{name}` in `next_command` stands for the instance's."""

    make: Callable[[Stack], None]
    check: str
    fact: str
    cause: str
    next_command: str
    log: str = ""
    stays: bool = True
    """A later `wait` finds the stack as it was found by `up`."""
    fresh: bool = False
    """It is in how the database's volume is made."""


FAULTS = {
    "exits": Fault(
        make=in_knobs("backend", "exit_code_at_start = 3"),
        check="backend",
        fact="backend exited (3)",
        cause="its program ended by itself: its last lines say why",
        next_command="ktrdr-sandbox logs backend -i {name}",
        log="exiting with code 3, as config/sample.toml says",
    ),
    "crash loop": Fault(
        make=both(in_knobs("backend", "exit_code_at_start = 3"), in_file(BACKEND, RESTARTED)),
        check="backend",
        fact="backend restarts again and again (",
        cause="its program ended by itself: its last lines say why",
        next_command="ktrdr-sandbox logs backend -i {name}",
        log="exiting with code 3, as config/sample.toml says",
        stays=False,  # between two runs it is seen to run
    ),
    "memory limit": Fault(
        make=both(
            in_knobs("backend", "allocate_mebibytes = 256"),
            in_file(BACKEND, "    mem_limit: 64m\n"),
        ),
        check="backend",
        fact="backend was killed: out of memory (137)",
        cause="it needs more memory than its limit of 64 MiB",
        next_command="docker stats --no-stream",
    ),
    "memory limit, restarted": Fault(
        make=both(
            in_knobs("backend", "allocate_mebibytes = 256"),
            in_file(BACKEND, "    mem_limit: 64m\n" + RESTARTED),
        ),
        check="backend",
        fact="backend was killed: out of memory",
        cause="it needs more memory than its limit of 64 MiB",
        next_command="docker stats --no-stream",
        stays=False,
    ),
    "full disk": Fault(
        make=in_file(
            VOLUME,
            "    driver_opts: {type: tmpfs, device: tmpfs, o: size=8m}\n",
        ),
        check="database",
        fact="db exited (1)",
        cause="no space is left on a disk or volume that it writes to",
        next_command="docker system df",
        log="No space left on device",
        fresh=True,
    ),
    "a folder that is not writable": Fault(
        make=lambda stack: stack.edit(
            COMPOSE, "      - ./logs:/app/logs\n", "    tmpfs: [/app/logs]\n"
        ),
        check="backend",
        fact="backend exited (1)",
        cause="logs/ cannot be written by the container's user",
        next_command="sudo chmod -R a+rwX logs",
        log="Unable to configure handler 'file'",
    ),
    "code that does not parse": Fault(
        make=lambda stack: stack.edit("ktrdr/worker.py", "def main() -> None:", "def main("),
        check="workers",
        fact="training-worker-1 exited (1)",
        cause="the branch's code does not parse",
        next_command="ktrdr-sandbox logs training-worker-1 -i {name}",
        log="SyntaxError",
    ),
    "a worker that never registers": Fault(
        make=in_knobs("worker", "never_register = true"),
        check="workers",
        fact="Expected 1 workers, found 0",
        cause="registering fails even after a restart",
        next_command="ktrdr-sandbox logs training-worker-1 -i {name}",
        log="not registering, as config/sample.toml says",
        stays=False,  # it would be restarted once more
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_come_true_is_told_with_its_cause(
    place: Sandbox, stack: Stack, name: str
) -> None:
    fault = FAULTS[name]
    if fault.fresh:
        place.run("down", stack.name, "--volumes").expect(0)
    fault.make(stack)
    failed = place.up(stack, "--timeout", f"{LIMIT:g}").expect(2)
    assert failed.error["code"] == "gate-failed"
    assert failed.data["gate"]["seconds"] < AT_ONCE
    found = told(failed, fault.check)
    assert (found["passed"], found["final"]) == (False, True), str(failed)
    assert found["facts"][0].startswith(fault.fact), str(failed)
    next_command = fault.next_command.format(name=stack.name)
    assert (found["cause"], found["next_command"]) == (fault.cause, next_command)
    assert f"Next: {next_command}" in failed.error["hints"]
    quoted = [line for log in found["logs"] for line in log["lines"]]
    assert any(fault.log in line for line in quoted) or not fault.log, str(failed)
    if fault.stays:
        shown = place.run("wait", stack.name, "--timeout", f"{LIMIT:g}").expect(2)
        assert_same_in_text(shown, found)
    if fault.fresh:
        place.run("down", stack.name, "--volumes", "--now").expect(0)


def told(outcome: Outcome, check: str) -> Any:
    return next(found for found in outcome.data["gate"]["checks"] if found["name"] == check)


def assert_same_in_text(shown: Outcome, found: Any) -> None:
    """The report for people has the same title, facts, cause, command and last line."""
    lines = shown.stdout.splitlines()
    assert lines[0] == "Startability Gate: FAILED"
    own = lines[lines.index(f"✗ {found['title']}") :]
    assert f"  → {found['facts'][0]}" in own
    assert f"  → Likely cause: {found['cause']}" in own
    assert f"  → Next: {found['next_command']}" in own
    for log in found["logs"]:
        assert all(f"    {line}" in lines for line in log["lines"][-1:]), str(shown)


# -- what Compose meets --------------------------------------------------------------------------


def test_an_image_that_is_nowhere(place: Sandbox, stack: Stack) -> None:
    image = "localhost:1/no-such-image:9"
    file = stack.path / COMPOSE
    text = file.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("    image: "))
    file.write_text(text.replace(first, f"    image: {image}", 1), encoding="utf-8")
    failed = place.up(stack).expect(1)
    assert failed.error["code"] == "image-missing"
    assert image in failed.error["message"]
    assert failed.error["details"]["services"] == ["db"]
    assert failed.error["hints"][0] == "It is the image of db."
    assert stack.containers() == []


def test_a_command_that_the_image_lacks(place: Sandbox, stack: Stack) -> None:
    """Told by Compose and by the gate at the same moment; the status is always Compose's."""
    in_file(BACKEND, '    command: ["no-such-command"]\n')(stack)
    failed = place.up(stack).expect(1)
    assert failed.error["code"] == "compose-failed"
    assert "no-such-command" in failed.error["message"]


def test_a_port_that_is_taken_between_the_check_and_the_start(
    place: Sandbox, stack: Stack, tmp_path: Path
) -> None:
    """A `docker` that lets another program in first, just before the start."""
    reached, go_on = tmp_path / "reached", tmp_path / "go-on"
    real = shlex.quote(shutil.which("docker") or "docker")
    script = tmp_path / "docker"
    script.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" up --detach "*)\n'
        f"    : > {shlex.quote(str(reached))}\n"
        f"    while [ ! -e {shlex.quote(str(go_on))} ]; do sleep 0.05; done;;\n"
        "esac\n"
        f'exec {real} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    port = stack.ports["db"]
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(place.run, "up", stack.name, "--json", environment=path)
        eventually(reached.exists)
        with foreign_listener(port) as (_, pid):
            go_on.touch()
            failed = starting.result().expect(3)
    assert failed.error["code"] == "port-conflict"
    (conflict,) = failed.error["details"]["ports"]
    assert conflict["port"] == port
    assert f"(pid {pid})" in conflict["holder"]
    assert f"  {port}: held by {conflict['holder']}" in failed.error["message"].splitlines()
    place.up(stack).expect(0)


# -- what is not certain -------------------------------------------------------------------------


def test_a_backend_that_hangs_is_given_the_time_and_no_more(place: Sandbox, stack: Stack) -> None:
    stack.misbehave("backend", "hang = true")
    place.up(stack, "--no-wait").expect(0)
    eventually(lambda: "listening" in "".join(docker_logs(stack.container("backend")["Id"])))
    failed = place.run("wait", stack.name, "--timeout", "6", "--json").expect(2)
    assert 6 <= failed.data["gate"]["seconds"] < 60
    found = told(failed, "backend")
    assert (found["passed"], found["final"], found["services"]) == (False, False, ["backend"])
    assert found["facts"][0].endswith("accepted the connection and did not answer within 2 s")
    assert found["cause"] == "backend accepts connections and does not get to answering: it hangs"
    assert found["logs"][0]["lines"]
    assert told(failed, "database")["passed"]


def test_a_backend_that_reports_an_error(place: Sandbox, stack: Stack) -> None:
    """With the report for people: the address, what it said, and the last lines of its log."""
    stack.misbehave("backend", "health_status = 500")
    place.up(stack, "--no-wait").expect(0)
    eventually(lambda: stack.get("/api/v1/notes") == [])
    for _ in range(LOG_LINES + 2):
        stack.get("/api/v1/notes")  # leaves a line in the log
    shown = place.run("up", stack.name, "--timeout", "3").expect(2)
    report = shown.stdout.splitlines()
    assert report[0] == "Startability Gate: FAILED"
    assert "✓ Database ready" in report
    start = report.index("✗ Backend health check failed")
    address = stack.url("/api/v1/health").replace("127.0.0.1", "localhost")
    assert report[start + 1] == f"  → GET {address} returned 500"
    assert report[start + 2] == f"  → Last {LOG_LINES} log lines:"
    after = start + 3 + LOG_LINES
    quoted = [line.removeprefix("    ") for line in report[start + 3 : after]]
    assert report[after : after + 2] == [
        "  → Likely cause: backend runs and reports an error of its own: see its log",
        f"  → Next: ktrdr-sandbox logs backend -i {stack.name}",
    ]
    assert set(quoted) <= set(docker_logs(stack.container("backend")["Id"]))
    assert len(stack.containers()) == 3, "left for whoever wants to look"


def test_a_database_that_was_made_with_another_password(place: Sandbox, stack: Stack) -> None:
    place.up(stack, "--no-wait").expect(0)
    place.run("down", stack.name, "--now").expect(0)
    made_with = f"DB_PASSWORD=sandbox-{stack.id}"
    stack.edit(".env.sandbox", made_with, "DB_PASSWORD=another-one")
    try:
        failed = place.up(stack, "--timeout", f"{LIMIT:g}").expect(2)
    finally:
        stack.edit(".env.sandbox", "DB_PASSWORD=another-one", made_with)
    assert failed.data["gate"]["seconds"] < AT_ONCE
    database = told(failed, "database")
    assert (database["passed"], database["final"]) == (False, True)
    volume = f"{stack.id}_postgres_data"
    assert database["cause"] == f"the volume {volume} was made with another password"
    assert database["next_command"] == f"ktrdr-sandbox down {stack.name} --volumes"
    assert "another-one" not in failed.stdout


def test_a_container_that_somebody_paused(place: Sandbox, stack: Stack) -> None:
    place.up(stack).expect(0)
    for service, check in (("backend", "backend"), ("db", "database")):
        name = stack.container(service)["Name"].removeprefix("/")
        docker("pause", name)
        try:
            failed = place.run("wait", stack.name, "--timeout", f"{LIMIT:g}", "--json").expect(2)
            refused = place.up(stack).expect(1)
        finally:
            docker("unpause", name)
        assert failed.data["gate"]["seconds"] < AT_ONCE
        found = told(failed, check)
        assert (found["final"], found["facts"]) == (True, [f"{service} is paused"])
        assert found["cause"] == "somebody paused it"
        assert found["next_command"] == f"docker unpause {name}"
        assert refused.error["message"] == f"Paused, so it cannot be started: {name}."
    place.run("wait", stack.name).expect(0)


# -- how many workers ----------------------------------------------------------------------------

ONE_MORE = """
  backtest-worker-1:
    image: ktrdr-backend:dev
    build: *backend-build
    command: ["python3", "-m", "ktrdr.worker"]
    depends_on: [backend]
    environment:
      KTRDR_API_URL: http://backend:8000
      WORKER_TYPE: backtesting
      WORKER_PORT: "5003"
      WORKER_PUBLIC_BASE_URL: http://backtest-worker-1:5003
    ports: ["5003:5003"]
    volumes: [./ktrdr:/app/ktrdr, ./config:/app/config]
    networks: [ktrdr-network]
    stop_grace_period: 1s

"""


def test_the_branch_s_file_decides_how_many_workers_there_are(place: Sandbox, stack: Stack) -> None:
    stack.edit(COMPOSE, WORKER, "    deploy: {replicas: 2}\n")
    # Replicas share their environment, so each gives the name of its own container.
    stack.edit(COMPOSE, "      WORKER_PUBLIC_BASE_URL: http://training-worker-1:5005\n", "")
    stack.edit(COMPOSE, "\nvolumes:\n", f"{ONE_MORE}volumes:\n")
    place.up(stack).expect(0)
    types = sorted(worker["worker_type"] for worker in stack.get("/api/v1/workers"))
    assert types == ["backtesting", "training", "training"]

    stack.misbehave("backtest-worker-1", "never_register = true")
    docker("restart", "--time", "0", stack.container("backend")["Id"])  # it forgets them all
    eventually(lambda: stack.get("/api/v1/workers") == [])
    failed = place.run(
        "wait",
        stack.name,
        *("--timeout", "3", "--json"),
        environment={"KTRDR_SANDBOX_HEAL_WORKERS": "false"},
    ).expect(2)
    assert told(failed, "workers")["facts"][0] == "Expected 3 workers, found 0"

    git("checkout", "--quiet", "--", ".", cwd=stack.path)
    place.up(stack).expect(0)
    assert len(stack.get("/api/v1/workers")) == 1, "one service less, and one replica"


# -- slow, and well all the same -----------------------------------------------------------------


@pytest.mark.xdist_group("slow start")
def test_a_start_that_takes_a_minute_passes(tmp_path: Path, mark: str) -> None:
    """Beside the other tests. Its worker has given up by then, and is brought back."""
    with sandbox(tmp_path / "place") as place:
        place.make_repository(light=True)
        stack = place.create(f"{mark}-slow")
        stack.misbehave("backend", "start_delay_seconds = 60\n[worker]\nquiet_seconds = 600")
        began = time.monotonic()
        passed = place.up(stack, "--timeout", f"{LIMIT:g}").expect(0)
        assert time.monotonic() - began > 60
        assert passed.data["gate"]["healed"] == ["training-worker-1"]
