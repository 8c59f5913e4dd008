"""Texts as Engine 20.10 and 28 and Compose 2.24 to 5.6 print them."""

from __future__ import annotations

import pytest

from ktrdr_sandbox.engine.failures import compose_failed, engine_failed
from ktrdr_sandbox.engine.process import Outcome
from ktrdr_sandbox.errors import CommandError
from ktrdr_sandbox.models import EngineAddress

HERE = EngineAddress(host="unix:///var/run/docker.sock")

POOL = "could not find an available, non-overlapping IPv4 address pool among the defaults"


def failed(stderr: str, exit_code: int | None = 1) -> Outcome:
    return Outcome(argv=("docker", "x"), exit_code=exit_code, stdout="", stderr=stderr)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (("driver failed programming external connectivity on endpoint x (1a): Bind for "
         "0.0.0.0:5432 failed: port is already allocated"), "port-conflict"),
        (("Error response from daemon: Ports are not available: exposing port TCP "
         "127.0.0.1:8001 -> 0.0.0.0:0: listen tcp 127.0.0.1:8001: bind: address already in use"),
         "port-conflict"),
        ("listen tcp4 127.0.0.1:8001: bind: address already in use", "port-conflict"),
        ("failed to bind host port 127.0.0.1:8001/tcp: address already in use", "port-conflict"),
        (f"failed to create network x: Error response from daemon: {POOL}",
         "network-pool-exhausted"),
        ("Error response from daemon: all predefined address pools have been fully subnetted",
         "network-pool-exhausted"),
        (("Error response from daemon: pull access denied for nobody/x, repository does not exist "
         "or may require 'docker login'"), "image-missing"),
        ("Error response from daemon: No such image: ktrdr--a/ktrdr-backend:dev", "image-missing"),
        (('Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such '
         "host"), "image-missing"),
        (("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
         "daemon running?"), "docker-not-answering"),
        ("permission denied while trying to connect to the Docker daemon socket",
         "docker-not-answering"),
        ("docker: 'compose' is not a docker command.\nSee 'docker --help'", "compose-missing"),
        ("unknown shorthand flag: 'p' in -p", "compose-missing"),
        ("service \"web\" failed to build: The command '/bin/sh -c false' returned 1",
         "compose-failed"),
        ("", "compose-failed"),
    ],
)  # fmt: skip
def test_what_compose_says_is_told_apart(text: str, code: str) -> None:
    assert compose_failed(failed(text), HERE, step="docker compose up").code == code


def test_the_port_is_named() -> None:
    text = "Bind for 0.0.0.0:5432 failed: port is already allocated"
    error = compose_failed(failed(text), HERE, step="up")
    assert error.message == "Port 5432 is already in use."
    assert error.details["ports"] == [{"port": 5432, "protocol": "tcp", "holder": ""}]


def test_the_first_failure_counts_not_what_was_cancelled_after_it() -> None:
    text = (
        f"Network a Error {POOL}\nNetwork b Error error during connect: Post "
        f'"http://%2Fvar%2Frun%2Fdocker.sock/v1.41/networks/create": {POOL}'
    )
    error = compose_failed(failed(text), HERE, step="up")
    assert error.code == "network-pool-exhausted"


def test_a_failure_keeps_the_whole_command() -> None:
    error = compose_failed(failed("one\ntwo", 17), HERE, step="docker compose build")
    assert isinstance(error, CommandError)
    assert (error.argv, error.exit_code, error.stderr) == (("docker", "x"), 17, "one\ntwo")
    assert "docker compose build failed (exit status 17)" in error.message


def test_no_answer_in_time() -> None:
    error = engine_failed(failed("", None), HERE)
    assert error.code == "docker-not-answering"
    assert error.message == (
        "Docker does not answer at unix:///var/run/docker.sock: no answer in time"
    )


def test_another_failure_of_docker() -> None:
    error = engine_failed(failed("Error response from daemon: something else"), HERE)
    assert error.code == "engine-failed"
    assert "something else" in error.message
