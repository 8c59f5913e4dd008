from __future__ import annotations

from ktrdr_sandbox.engine.environment import child_environment
from ktrdr_sandbox.models import EngineAddress

ANOTHER_STACK = {
    "KTRDR_API_PORT": "8007",
    "KTRDR_WORKER_PORT_9": "5079",
    "KTRDR_PORT_WEB_80": "20700",
    "COMPOSE_PROJECT_NAME": "ktrdr--other",
    "COMPOSE_FILE": "other.yml",
    "COMPOSE_PROFILES": "other",
    "DB_PASSWORD": "other",
    "INSTANCE_ID": "ktrdr--other",
    "SLOT_NUMBER": "7",
    "DOCKER_HOST": "tcp://other:2375",
    "DOCKER_CONTEXT": "other",
    "DOCKER_TLS_VERIFY": "1",
}
OWN_FILE = {
    "KTRDR_API_PORT": "8002",
    "COMPOSE_PROJECT_NAME": "ktrdr--mine",
    "DB_PASSWORD": "mine",
    "INSTANCE_ID": "ktrdr--mine",
    "SLOT_NUMBER": "2",
}
HERE = EngineAddress(host="unix:///var/run/docker.sock")


def test_nothing_of_another_stack_arrives_and_all_of_the_file_does() -> None:
    found = child_environment(ANOTHER_STACK, address=HERE, file_values=OWN_FILE)
    assert found == OWN_FILE


def test_what_is_the_users_own_is_passed_on() -> None:
    users = {"ANTHROPIC_API_KEY": "k", "PATH": "/bin", "HOME": "/home/you", "HTTPS_PROXY": "p"}
    assert child_environment({**users, **ANOTHER_STACK}, address=HERE).items() >= users.items()


def test_the_shared_folders_come_where_the_file_cannot_hold_them() -> None:
    paths = {"KTRDR_SHARED_DIR": "/home/a b/.ktrdr/shared"}
    inherited = {"KTRDR_SHARED_DIR": "/other"}
    assert child_environment(inherited, address=HERE, paths=paths) == paths
    edited = {"KTRDR_SHARED_DIR": "/edited"}
    found = child_environment(inherited, address=HERE, paths=paths, file_values=edited)
    assert found == edited


def test_tls_is_the_addresss_own() -> None:
    far = EngineAddress(host="tcp://far:2376", tls_verify=True, cert_path="/certs")
    found = child_environment({"DOCKER_CERT_PATH": "/other"}, address=far)
    assert found == {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
