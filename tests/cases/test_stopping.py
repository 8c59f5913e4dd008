"""Stopping as Compose does, and what destroy lets a container finish."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cases.repositories import case

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine, cases"),
    pytest.mark.timeout(300),
]

HOOK = """
services:
  app:
    image: tiny:1
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    stop_grace_period: 5s
    volumes: ["./out:/out"]
    pre_stop:
      - command: ["sh", "-c", "echo flushed >> /out/log"]
"""

ORDER = """
services:
  store:
    image: tiny:1
    init: true
    command: ["sh", "-c", "mkdir /www; echo ok > /www/index.html; exec httpd -f -p 5000 -h /www"]
    stop_grace_period: 2s
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5000/"], interval: 1s}
  app:
    image: tiny:1
    command:
      - sh
      - -c
      - |
        end() { sleep 1; if wget -q -O /dev/null http://store:5000/; then echo saved; else echo lost; fi > /out/last; exit 0; }
        trap end TERM
        while :; do sleep 0.1; done
    stop_grace_period: 15s
    volumes: ["./out:/out"]
    depends_on:
      store: {condition: service_healthy}
"""  # noqa: E501

WRITER = """
services:
  app:
    image: tiny:1
    stop_signal: SIGUSR1
    command:
      - sh
      - -c
      - "trap 'sleep 0.5; echo whole > /out/file; exit 0' USR1; while :; do sleep 0.1; done"
    volumes: ["OUT:/out"]
"""


def test_hooks_run_before_a_stop_and_before_the_end_of_a_kept_directory(tmp_path: Path) -> None:
    with case(tmp_path, HOOK, files={".gitignore": "/out/\n"}) as found:
        log = found.stack.path / "out" / "log"
        found.up().expect(0)
        found.place.run("down", found.stack.name).expect(0)
        assert log.read_text() == "flushed\n"
        found.up().expect(0)
        found.place.run("destroy", found.stack.name, "--yes", "--keep-worktree").expect(0)
        assert log.read_text() == "flushed\n" * 2


def test_dependents_stop_first_and_it_is_shown(tmp_path: Path) -> None:
    with case(tmp_path, ORDER, files={".gitignore": "/out/\n"}) as found:
        found.up().expect(0)
        down = found.place.run("down", found.stack.name).expect(0)
        assert (found.stack.path / "out" / "last").read_text() == "saved\n"
        assert "--now kills them at once" in down.stderr
        lines = [line for line in down.stderr.splitlines() if "Stopped" in line]
        assert [line.split()[1].split("-")[-2] for line in lines] == ["app", "store"]


def test_without_its_file_the_order_is_kept(tmp_path: Path) -> None:
    with case(tmp_path, ORDER, files={".gitignore": "/out/\n"}) as found:
        found.up().expect(0)
        (found.stack.path / "compose.yml").unlink()
        found.place.run("down", found.stack.name).expect(0)
        assert (found.stack.path / "out" / "last").read_text() == "saved\n"


@pytest.mark.parametrize(("option", "written"), [((), True), (("--now",), False)])
def test_destroy_lets_what_outlives_it_be_written(
    tmp_path: Path, option: tuple[str, ...], written: bool
) -> None:
    out = tmp_path / "outside"
    out.mkdir()
    allowed = {".ktrdr-sandbox.toml": ""}
    with case(tmp_path, WRITER.replace("OUT", str(out)), files=allowed) as found:
        found.up().expect(0)
        found.place.run("destroy", found.stack.name, "--yes", *option).expect(0)
        assert (out / "file").exists() == written


def test_destroy_does_not_wait_for_what_goes_with_it(tmp_path: Path) -> None:
    """The container heeds no signal, and writes into the worktree alone."""
    text = WRITER.replace("OUT", "./out").replace("sleep 0.5", "sleep 30")
    with case(tmp_path, text, files={".gitignore": "/out/\n"}) as found:
        found.up().expect(0)
        began = time.monotonic()
        found.place.run("destroy", found.stack.name, "--yes").expect(0)
        assert time.monotonic() - began < 5
