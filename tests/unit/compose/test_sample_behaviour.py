"""The sample does over HTTP what the real application is known to do, its defects included."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.compose.sample_processes import PATIENCE_SECONDS, RunningSample, eventually


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[RunningSample]:
    running = RunningSample(tmp_path)
    yield running
    running.stop()


def is_up(sample: RunningSample) -> bool:
    return sample.ask("api/v1/health")[0] == 200


def test_health_is_under_api_only_and_needs_no_database(sample: RunningSample) -> None:
    sample.start_backend()
    eventually(lambda: is_up(sample))

    assert sample.ask("health") == (404, {"detail": "Not Found"})
    _, health = sample.ask("api/v1/health")
    assert (health["status"], health["version"]) == ("ok", "1.0.7.2")
    assert sample.ask("api/v1/notes")[0] == 500


def test_worker_registers_and_is_listed_as_the_api_shows_it(sample: RunningSample) -> None:
    sample.start_backend()
    eventually(lambda: is_up(sample))
    sample.start_worker()
    eventually(sample.workers)

    (worker,) = sample.workers()
    assert re.fullmatch(r"training-worker-[0-9a-f]{8}", worker.pop("worker_id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}", worker.pop("last_health_check"))
    assert worker == {
        "worker_type": "training",
        "endpoint_url": f"http://localhost:{sample.worker_port}",
        "status": "available",
        "current_operation_id": None,
        "capabilities": {"gpu": False},
        "health_check_failures": 0,
        "metadata": {},
    }
    status, health = sample.ask("health", of_worker=True)
    assert (status, health["healthy"], health["service"]) == (200, True, "training-worker")


def test_worker_that_docker_keeps_asking_stays_lost(sample: RunningSample) -> None:
    sample.misbehave("worker", quiet_seconds=2.5)
    backend = sample.start_backend()
    eventually(lambda: is_up(sample))
    sample.start_worker()
    eventually(sample.workers)

    backend.kill()
    backend.wait()
    sample.start_backend()
    eventually(lambda: is_up(sample))
    for _ in range(20):  # longer than the worker would need, asked as a health check asks
        sample.ask("health", of_worker=True)
        time.sleep(0.2)
    assert sample.workers() == []

    eventually(sample.workers)  # left alone, it finds back


def test_worker_gives_up_after_five_attempts(sample: RunningSample) -> None:
    sample.misbehave("worker", registration_pause_seconds=0)
    sample.start_worker()

    eventually(lambda: "could not register" in sample.output("ktrdr.worker"))
    assert sample.output("ktrdr.worker").count("failed: <urlopen error") == 5


def test_worker_outlives_sigterm_and_backend_does_not(sample: RunningSample) -> None:
    backend = sample.start_backend()
    eventually(lambda: is_up(sample))
    worker = sample.start_worker()
    eventually(sample.workers)

    backend.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGTERM)
    assert backend.wait(PATIENCE_SECONDS) == 0
    eventually(lambda: "SIGTERM" in sample.output("ktrdr.worker"))
    assert sample.ask("health", of_worker=True)[0] == 200


def test_backend_without_a_writable_log_folder_dies(sample: RunningSample) -> None:
    (sample.root / "logs").rmdir()  # not its mode: these tests may run as root
    assert sample.start_backend().wait(PATIENCE_SECONDS) == 1
    assert "Unable to configure handler 'file'" in sample.output("ktrdr.api")


def test_edited_code_is_served_once_it_compiles(sample: RunningSample) -> None:
    backend = sample.start_backend()
    eventually(lambda: is_up(sample))
    version = sample.root / "ktrdr" / "version.py"
    good = version.read_text().replace("hello from main", "hello from a test")

    version.write_text(good.replace('"\n', "\n"))
    time.sleep(1.2)  # two looks at the folder
    assert sample.ask("api/v1/info")[1]["greeting"] == "hello from main"

    version.write_text(good)
    eventually(lambda: sample.ask("api/v1/info")[1]["greeting"] == "hello from a test")
    assert backend.poll() is None


def test_settings_take_effect_while_it_runs(sample: RunningSample) -> None:
    sample.start_backend()
    eventually(lambda: is_up(sample))

    sample.misbehave("backend", health_status=503, wrap_worker_list=True)
    assert sample.ask("api/v1/health")[0] == 503
    assert sample.ask("api/v1/workers") == (200, {"workers": []})

    sample.misbehave("backend", hang=True)
    with pytest.raises(TimeoutError):
        sample.ask("api/v1/health", timeout=1)


def test_settings_of_a_service_win_over_those_of_its_role(sample: RunningSample) -> None:
    path = sample.root / "config" / "sample.toml"
    path.write_text("[worker]\nexit_code_at_start = 3\n[localhost]\nexit_code_at_start = 4\n")
    assert sample.start_worker().wait(PATIENCE_SECONDS) == 4


def test_start_can_be_slow(sample: RunningSample) -> None:
    sample.misbehave("backend", start_delay_seconds=600)
    sample.start_backend()
    eventually(lambda: "starting in 600 s" in sample.output("ktrdr.api"))
    with pytest.raises(OSError, match="refused"):
        sample.ask("api/v1/health")


def test_one_line_tells_when_the_stack_was_whole(sample: RunningSample) -> None:
    code = "from ktrdr import logs, readiness\nlogs.configure_logging(to_file=False)\n"
    steps = "r = readiness.Readiness(['a', 'b'])\n[r.reached(x) for x in 'aabba']\n"
    (sample.root / "whole.py").write_text(code + steps)

    assert sample.start("whole").wait(PATIENCE_SECONDS) == 0
    (line,) = sample.output("whole").splitlines()
    assert re.search(r"ready: b last, at \d{4}-\d\d-\d\dT[\d:.]+Z \(\d+\.\d{3}\)$", line)
