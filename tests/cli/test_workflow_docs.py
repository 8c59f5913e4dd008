"""The snippets of docs/workflow-make-direnv.md, taken from there and run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.http_server import HttpServer, Reply
from tests.support.real_ktrdr import script
from tests.support.world import World

PAGE = Path(__file__).parents[2] / "docs" / "workflow-make-direnv.md"
STALE = {"KTRDR_API_PORT": "8009", "KTRDR_API_URL": "http://localhost:8009", "DB_PORT": "1"}

ASK = (
    "import os, urllib.request as r; "
    "print(r.urlopen(os.environ['KTRDR_API_URL'] + '/api/v1/health').read().decode())"
)
TARGETS = """
test-e2e:
\t@{python} -c "{ask}"
show:
\t@echo "$$KTRDR_API_URL $$KTRDR_API_PORT $$DB_PORT $$COMPOSE_PROJECT_NAME"
"""


def snippets(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def envrc(which: int) -> str:
    return [text for text in snippets("sh") if text.startswith("# .envrc\n")][which]


def makefile(snippet: str) -> str:
    return snippet + TARGETS.format(python=shlex.quote(sys.executable), ask=ASK)


def make(*arguments: str, cwd: Path, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=cwd,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def feat_x(world: World, slot: int) -> Path:
    """A worktree whose Makefile, as that of the main checkout, has the snippet."""
    (snippet,) = snippets("make")
    world.repository.commit({"Makefile": makefile(snippet)})
    made = world.run("create", "feat-x", "--slot", str(slot))
    assert made.exit_code == 0, made
    return world.path_of("feat-x")


@pytest.mark.parametrize("stale", [{}, STALE])
def test_make_in_a_worktree_hits_its_own_port(
    world: World, feat_x: Path, slot: int, stale: dict[str, str]
) -> None:
    replies = {"/api/v1/health": Reply(body=b"feat-x answers")}
    with HttpServer({**replies}, port=8000 + slot) as api:
        done = make("test-e2e", cwd=feat_x, more=stale)
    assert (done.returncode, done.stdout) == (0, "feat-x answers\n"), done
    assert api.asked == ["/api/v1/health"]
    shown = make("show", cwd=feat_x, more=stale).stdout
    assert shown == f"http://localhost:{8000 + slot} {8000 + slot} {5432 + slot} \n"


def test_make_elsewhere_is_as_before(world: World, feat_x: Path) -> None:
    assert feat_x.is_dir()
    assert make("show", cwd=world.repository.root, more={}).stdout == "   \n"
    stays = make("show", cwd=world.repository.root, more=STALE).stdout
    assert stays == "http://localhost:8009 8009 1 \n"


def test_make_with_a_port_of_ones_own(feat_x: Path) -> None:
    shown = make("show", "KTRDR_API_PORT=8003", cwd=feat_x, more={}).stdout
    assert shown.startswith("http://localhost:8003 8003 ")


def test_make_stops_over_a_file_without_a_port(feat_x: Path) -> None:
    (feat_x / ".env.sandbox").write_text("INSTANCE_ID=ktrdr--feat-x\n", encoding="utf-8")
    done = make("show", cwd=feat_x, more=STALE)
    assert done.returncode == 2
    assert ".env.sandbox names no KTRDR_API_PORT" in done.stderr


def test_run_does_it_without_the_snippet(world: World, feat_x: Path, slot: int) -> None:
    (feat_x / "Makefile").write_text(makefile(""), encoding="utf-8")
    replies = {"/api/v1/health": Reply(body=b"feat-x answers")}
    with HttpServer({**replies}, port=8000 + slot):
        outcome = world.run("run", "--", "make", "test-e2e", cwd=feat_x, env=STALE)
    assert (outcome.exit_code, outcome.stdout) == (0, "feat-x answers\n"), outcome


# -- direnv --------------------------------------------------------------------------------------

BY_BASH = """\
watch_file() { :; }
dotenv_if_exists() { if [ -e "$1" ]; then set -a; . "./$1"; set +a; fi; }
. ./.envrc
exec env -0
"""
"""What direnv's own functions do, as far as the snippets go."""


def by_bash(directory: Path, environment: Mapping[str, str]) -> str:
    argv = ["bash", "-c", BY_BASH]
    done = subprocess.run(
        argv, cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def by_direnv(directory: Path, environment: Mapping[str, str]) -> str:
    """The real one, which evaluates only what its user has allowed."""
    command = ["direnv", "exec", str(directory), "env", "-0"]
    outputs = [
        subprocess.run(
            argv, cwd=directory, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for argv in (["direnv", "allow", str(directory)], command)
    ]
    return outputs[1]


@pytest.mark.parametrize("read", [by_bash, by_direnv])
@pytest.mark.parametrize("which", [0, 1], ids=["by the program", "by the file"])
@pytest.mark.parametrize("stale", [{}, STALE], ids=["clean", "stale"])
def test_envrc(
    world: World, feat_x: Path, slot: int, read: object, which: int, stale: dict[str, str]
) -> None:
    assert callable(read)
    own = world.folder / "bin"
    script(own / "ktrdr-sandbox", f'exec {shlex.quote(sys.executable)} -m ktrdr_sandbox "$@"')
    environment = {
        **os.environ,
        **stale,
        "KTRDR_HOME": str(world.home),
        "PATH": f"{own}:{os.environ['PATH']}",
    }
    (feat_x / ".envrc").write_text(envrc(which), encoding="utf-8")
    shown = read(feat_x, environment)
    seen = dict(entry.split("=", 1) for entry in shown.split("\0") if "=" in entry)
    assert seen["KTRDR_API_URL"] == f"http://localhost:{8000 + slot}"
    assert seen["KTRDR_API_PORT"] == str(8000 + slot)
    assert seen["DB_PASSWORD"] == "sandbox-ktrdr--feat-x"
    (world.repository.root / ".envrc").write_text(envrc(which), encoding="utf-8")
    elsewhere = read(world.repository.root, {**os.environ, "PATH": environment["PATH"]})
    assert "KTRDR_API_PORT" not in elsewhere
