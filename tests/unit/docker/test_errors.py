# ruff: noqa: E501  texts as the tools print them
"""Texts that Docker and Compose really print, and what they are taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.docker.errors import compose_failed, compose_missing, engine_failed
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.process import CommandError, Outcome

ADDRESS = EngineAddress(host="unix:///var/run/docker.sock")


def outcome(stderr: str, *, exit_code: int | None = 1, stdout: str = "") -> Outcome:
    return Outcome(argv=("docker", "x"), exit_code=exit_code, stdout=stdout, stderr=stderr)


def of_compose(stderr: str) -> SandboxError:
    return compose_failed(outcome(stderr), ADDRESS, step="docker compose up")


NOT_ANSWERING = [
    "Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?",
    'error during connect: Get "http://h:2375/v1.47/version": dial tcp: lookup h: no such host',
    (
        "permission denied while trying to connect to the Docker daemon socket at "
        "unix:///var/run/docker.sock: Get ...: dial unix /var/run/docker.sock: permission denied"
    ),
    (
        'Failed to initialize: unable to resolve docker endpoint: context "nope": context not found: '
        "open /root/.docker/contexts/meta/ca37/meta.json: no such file or directory"
    ),
    (
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is "
        "correct and if the daemon is running"
    ),
]


@pytest.mark.parametrize("text", NOT_ANSWERING)
def test_an_engine_that_does_not_answer(text: str) -> None:
    for error in (engine_failed(outcome(text), ADDRESS), of_compose(text)):
        assert error.code == "docker-not-answering"
        assert error.message.startswith("Docker does not answer at unix:///var/run/docker.sock: ")
        assert error.details == {"context": None, "host": "unix:///var/run/docker.sock"}


def test_a_context_is_named_by_its_name() -> None:
    address = EngineAddress(context="colima")
    error = engine_failed(outcome(NOT_ANSWERING[3]), address)
    assert "Docker does not answer at colima" in error.message


def test_time_that_ran_out_is_no_answer() -> None:
    error = engine_failed(outcome("", exit_code=None), ADDRESS)
    assert error.code == "docker-not-answering"
    assert error.message.endswith(": no answer in time")


def test_a_refused_user_is_told_what_to_do() -> None:
    (hint,) = engine_failed(outcome(NOT_ANSWERING[2]), ADDRESS).hints
    assert "usermod -aG docker" in hint


@pytest.mark.parametrize(
    "text",
    [
        "docker: 'compose' is not a docker command.\nSee 'docker --help'",
        "docker: unknown command: docker compose\n\nRun 'docker --help' for more information",
        "unknown shorthand flag: 'p' in -p\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]",
        "unknown flag: --file\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND",
    ],
)
def test_docker_without_compose(text: str) -> None:
    error = of_compose(text)
    assert error.code == "compose-missing"
    assert error.message == compose_missing().message


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (
            (
                " Container x-db-1 Starting \nError response from daemon: driver failed programming "
                "external connectivity on endpoint x-db-1 (bf51): Error starting userland proxy: "
                "listen tcp4 127.0.0.1:5434: bind: address already in use"
            ),
            5434,
        ),
        (
            (
                "Error response from daemon: driver failed programming external connectivity on "
                "endpoint x-backend-1 (3964): Bind for 127.0.0.1:8002 failed: port is already allocated"
            ),
            8002,
        ),
        (
            (
                "Error response from daemon: failed to set up container networking: driver failed "
                "programming external connectivity on endpoint x (1): failed to bind host port for "
                "0.0.0.0:3002:172.18.0.2:3000/tcp: address already in use"
            ),
            3002,
        ),
        (
            (
                "Error response from daemon: failed to set up container networking: driver failed "
                "programming external connectivity on endpoint x (1): failed to bind host port "
                "127.0.0.1:9092/tcp: address already in use"
            ),
            9092,
        ),
        (
            (
                "Error response from daemon: Ports are not available: exposing port TCP "
                "127.0.0.1:16688 -> 127.0.0.1:0: listen tcp 127.0.0.1:16688: bind: address already in "
                "use"
            ),
            16688,
        ),
        (
            (
                "Error response from daemon: failed to bind host port [::1]:8002/tcp: address already "
                "in use"
            ),
            8002,
        ),
        (
            "Error starting userland proxy: listen tcp6 [::1]:8002: bind: address already in use",
            8002,
        ),
    ],
)
def test_a_port_that_is_taken(text: str, port: int) -> None:
    error = of_compose(text)
    assert error.code == "port-conflict"
    assert error.message == f"Port {port} is already in use."
    assert error.hints == (f"Use 'lsof -i :{port}' to identify the process.",)
    assert error.details["ports"] == [{"port": port, "protocol": "tcp", "holder": ""}]


@pytest.mark.parametrize(
    "text",
    [
        "Error response from daemon: No such image: x:latest",
        (
            "Error response from daemon: pull access denied for ktrdr-backend, repository does not "
            "exist or may require 'docker login': denied"
        ),
        "Error response from daemon: manifest for grafana/grafana:nope not found: manifest unknown",
        (
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup '
            "registry-1.docker.io on 10.0.0.1:53: no such host"
        ),
        'failed to resolve reference "docker.io/library/x:1": failed to do request',
    ],
)
def test_an_image_that_is_not_to_be_had(text: str) -> None:
    error = of_compose(" Image x:1 Pulling \n" + text + "\n")
    assert error.code == "image-missing"
    assert text in error.message


@pytest.mark.parametrize(
    "text",
    [
        (
            "failed to create network x_default: Error response from daemon: could not find an "
            "available, non-overlapping IPv4 address pool among the defaults to assign to the network"
        ),
        (
            "failed to create network x_default: Error response from daemon: all predefined address "
            "pools have been fully subnetted"
        ),
    ],
)
def test_no_subnet_left(text: str) -> None:
    error = of_compose(text)
    assert error.code == "network-pool-exhausted"
    assert any("KTRDR_SANDBOX_NETWORK_POOL" in hint for hint in error.hints)


def test_any_other_failure_shows_its_last_lines() -> None:
    lines = [f"line {number}" for number in range(30)]
    error = of_compose("\n".join(lines))
    assert isinstance(error, CommandError)
    assert error.code == "compose-failed"
    assert error.message.startswith("docker compose up failed (exit status 1): \n")
    assert error.message.endswith("  line 29")
    assert "line 10" not in error.message
    assert error.outcome.stderr.startswith("line 0")
    assert error.details["output"] == "\n".join(lines)
    assert error.outcome.argv == ("docker", "x")


def test_a_silent_failure_says_so() -> None:
    assert of_compose("").message == ("docker compose up failed (exit status 1): it gave no reason")


def test_an_ordinary_refusal_of_the_engine() -> None:
    error = engine_failed(outcome("Error: No such network: x\nmore\n"), ADDRESS)
    assert error.code == "engine-failed"
    assert error.message == "Docker failed (exit status 1): Error: No such network: x"


def test_the_first_failure_counts_not_what_was_cancelled_after_it() -> None:
    pool = "could not find an available, non-overlapping IPv4 address pool among the defaults"
    error = of_compose(
        f"Network a Error {pool}\nNetwork b Error error during connect: Post "
        f'"http://%2Fvar%2Frun%2Fdocker.sock/v1.41/networks/create": {pool}'
    )
    assert error.code == "network-pool-exhausted"


@pytest.mark.parametrize(
    "text",
    [
        "env file /code/ktrdr--a/.env not found: stat /code/ktrdr--a/.env: no such file or directory",
        (
            'Error response from daemon: invalid mount config for type "bind": bind source path does '
            "not exist: /code/ktrdr--a/config/local.yml"
        ),
    ],
)
def test_a_file_that_is_missing(text: str) -> None:
    error = of_compose(f" Container a-backend-1  Creating\n{text}\n")
    assert error.code == "compose-failed"
    assert error.message == f"A file is missing: {text}"
    assert ".worktreeinclude" in error.hints[0]


def test_only_what_is_wrong_is_told_of_a_long_log() -> None:
    log = [
        "#5 [2/2] RUN false",
        "#5 0.1 hello",
        " Container a-db-1  Creating ",
        "abcdef012345 Pulled",
    ]
    error = of_compose("\n".join([*log, "Error response from daemon: no such program", ""]))
    assert error.message == (
        "docker compose up failed (exit status 1): Error response from daemon: no such program"
    )


def test_a_buildx_that_compose_refuses() -> None:
    (hint,) = of_compose("compose build requires buildx 0.17 or later").hints
    assert "buildx plugin" in hint


def test_a_snaps_docker_that_cannot_read_hidden_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "open /home/me/.ktrdr/sandbox/state/a/override.yml: permission denied"
    assert of_compose(text).hints == ()
    monkeypatch.setattr("shutil.which", lambda _: "/snap/bin/docker")
    (hint,) = of_compose(text).hints
    assert "KTRDR_HOME" in hint


def test_sockets_of_others_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podman = EngineAddress(host="unix:///run/user/1000/podman/podman.sock")
    assert "podman.socket" in engine_failed(outcome(NOT_ANSWERING[0]), podman).hints[0]
    (tmp_path / "docker.sock").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (hint,) = engine_failed(outcome(NOT_ANSWERING[0]), ADDRESS).hints
    assert f"DOCKER_HOST=unix://{tmp_path}/docker.sock" in hint
