from __future__ import annotations

from ktrdr_sandbox.docker.environment import child_environment
from ktrdr_sandbox.models import EngineAddress

OTHER_SANDBOX = {
    "INSTANCE_ID": "ktrdr--other",
    "COMPOSE_PROJECT_NAME": "ktrdr--other",
    "COMPOSE_FILE": "/elsewhere/docker-compose.yml",
    "COMPOSE_PROFILES": "debug",
    "COMPOSE_ENV_FILES": "/elsewhere/.env",
    "COMPOSE_DISABLE_ENV_FILE": "1",
    "SLOT_NUMBER": "9",
    "KTRDR_API_PORT": "8009",
    "KTRDR_DB_PORT": "5441",
    "DB_PASSWORD": "sandbox-ktrdr--other",
    "DB_PORT": "5441",
    "KTRDR_WORKER_PORT_7": "5096",
    "KTRDR_PORT_WEB_8080": "20900",
    "KTRDR_SHARED_DIR": "/elsewhere/shared",
    "WORKER_COUNT_BACKTEST": "7",
    "SANDBOX_UUID": "uuid-of-other",
    "JAEGER_URL": "http://localhost:16695",
}
"""What a shell holds after `set -a; . ../ktrdr--other/.env.sandbox`."""

OWN = {
    "INSTANCE_ID": "ktrdr--feat-x",
    "COMPOSE_PROJECT_NAME": "ktrdr--feat-x",
    "SLOT_NUMBER": "2",
    "KTRDR_API_PORT": "8002",
    "KTRDR_DB_PORT": "5434",
    "DB_PASSWORD": "sandbox-ktrdr--feat-x",
    "DB_PORT": "5434",
    "WORKER_COUNT_BACKTEST": "2",
    "SANDBOX_UUID": "uuid-of-feat-x",
}
PATHS = {"KTRDR_SHARED_DIR": "/home/me/.ktrdr/shared"}


def test_nothing_of_another_sandbox_arrives() -> None:
    found = child_environment(
        {
            "PATH": "/bin",
            "ANTHROPIC_API_KEY": "key",
            "KTRDR_API_URL": "http://localhost:8009",
            **OTHER_SANDBOX,
        },
        address=EngineAddress(),
        file_values=OWN,
        paths=PATHS,
    )
    assert found == {"PATH": "/bin", "ANTHROPIC_API_KEY": "key", **OWN, **PATHS}


def test_the_engine_is_the_instances_own() -> None:
    shell = {
        "DOCKER_HOST": "tcp://elsewhere:2376",
        "DOCKER_CONTEXT": "elsewhere",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_TLS": "1",
        "DOCKER_CERT_PATH": "/elsewhere",
        "DOCKER_CONFIG": "/home/me/.docker",
        "DOCKER_BUILDKIT": "1",
    }
    kept = {"DOCKER_CONFIG": "/home/me/.docker", "DOCKER_BUILDKIT": "1"}
    assert child_environment(shell, address=EngineAddress(context="colima")) == kept
    secured = EngineAddress(host="tcp://h:2376", tls_verify=True, cert_path="/certs")
    assert child_environment(shell, address=secured) == {
        **kept,
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/certs",
    }


def test_the_file_beats_the_shared_folders_and_both_beat_the_shell() -> None:
    found = child_environment(
        {"A": "shell", "B": "shell", "C": "shell"},
        address=EngineAddress(),
        file_values={"A": "file"},
        paths={"A": "path", "B": "path"},
    )
    assert found == {"A": "file", "B": "path", "C": "shell"}


def test_what_is_given_is_not_changed() -> None:
    shell = {"COMPOSE_FILE": "x", "A": "1"}
    child_environment(shell, address=EngineAddress(), file_values={"A": "2"})
    assert shell == {"COMPOSE_FILE": "x", "A": "1"}
