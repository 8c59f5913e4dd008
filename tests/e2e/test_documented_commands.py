"""Every command line of README and documentation, typed in the order of the pages."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
from backports import zstd

from ktrdr_sandbox.cli import params
from tests.support.pages import CHECKOUT, Command, blocks, commands, pages
from tests.support.processes import held_slot
from tests.support.repositories import git
from tests.support.stacks import Sandbox, demo_settings, run, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("chosen slots"),
    pytest.mark.timeout(600),
]

ELSEWHERE = {
    "./scripts/demo": "tests/e2e/test_scripts.py",
    "./scripts/test": "what runs this",
    "pipx install ktrdr-sandbox": "tests/e2e/test_wheel.py",
    "pipx install .": "tests/e2e/test_wheel.py",
}
ORIGIN = "git@github.com:kpiteira/ktrdr.git"
"""What new developers clone; here git is told that it lies on this disk."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Sandbox]:
    """A home as the pages take it for granted: a checkout in ~/dev/ktrdr, data, backups."""
    with sandbox(tmp_path / "place") as made:
        origin = made.folder / "origin" / "ktrdr.git"
        origin.parent.mkdir()
        made.repository = origin
        made.make_repository(branches=["fix-orders"], light=True)
        add_smoke_script(origin)
        made.repository = made.home / "dev" / "ktrdr"
        (made.home / ".gitconfig").write_text(
            f'[url "{origin.parent}/"]\n\tinsteadOf = {ORIGIN.rpartition("/")[0]}/\n'
            "[user]\n\tname = A Developer\n\temail = developer@localhost\n",
            encoding="utf-8",
        )
        made.repository.parent.mkdir()
        git(made.repository.parent, "clone", "--quiet", str(origin), "ktrdr-clone")
        prepare_data(made.home)
        yield made


def add_smoke_script(repository: Path) -> None:
    """And leave the tests of the checkout what three services have: workers of one type."""
    script = repository / "scripts" / "smoke"
    script.parent.mkdir(exist_ok=True)
    script.write_bytes((CHECKOUT / "scripts" / "smoke").read_bytes())
    script.chmod(0o755)
    tests = repository / "tests" / "e2e" / "test_stack.py"
    text = tests.read_text(encoding="utf-8")
    tests.write_text(text.replace('{"backtesting", "training"}', '{"training"}'), encoding="utf-8")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "Smoke test")


def prepare_data(home: Path) -> None:
    """An old checkout with data in it, and backups of that."""
    old = home / "dev" / "ktrdr-old"
    for folder in ("data", "models", "strategies"):
        (old / folder).mkdir(parents=True)
    (old / "data" / "AAPL_1d.csv").write_text("timestamp,open,high,low,close,volume\n")
    backup = home / "backup"
    backup.mkdir()
    shutil.copytree(old, backup / "shared")
    with tarfile.open(backup / "shared.tar.gz", "w:gz") as archive:
        archive.add(old, arcname="shared")
    plain = gzip.decompress((backup / "shared.tar.gz").read_bytes())
    (backup / "ktrdr-data.tar.zst").write_bytes(zstd.compress(plain))


@pytest.mark.parametrize("page", [page for page in pages() if commands(page)])
def test_every_command_of_the_page_does_what_it_shows(place: Sandbox, page: str) -> None:
    typed = commands(page)
    if not any(ORIGIN in command.text for command in typed):
        clone(place)
    type_all(place, typed)


def test_steps_of_the_workflow_for_github_actions(place: Sandbox) -> None:
    (workflow,) = [block for block in blocks("docs/ci.md") if block.language == "yaml"]
    steps = [
        Command(workflow.page, workflow.line + number, line.partition("- run: ")[2])
        for number, line in enumerate(workflow.text.splitlines())
        if "- run: " in line
    ]
    assert [step.text for step in steps if "scripts/smoke" in step.text]
    clone(place)
    type_all(place, steps)


def test_every_example_of_the_help(place: Sandbox) -> None:
    """In the instance `feat-x`, which is made anew where an example has destroyed it."""
    clone(place)
    again = "ktrdr-sandbox status feat-x >/dev/null 2>&1 || ktrdr-sandbox create feat-x"
    before = {
        "create": ["true"],
        "down": [again, "ktrdr-sandbox up feat-x"],
        # without the bundle of an example before it, which would be work that is nowhere else
        "destroy": [again, "cd ~/dev/ktrdr", "rm -f ../ktrdr--feat-x/report.tar.gz"],
        "init": ["cd ~/dev/ktrdr-clone"],
    }
    typed = []
    for name, lines in params.examples().items():
        for number, (text, _) in enumerate(lines):
            first = before.get(name, [again, "cd ~/dev/ktrdr--feat-x"])
            typed += [Command(name, number, line) for line in (*first, text)]
            if name == "create":
                typed.append(Command(name, number, "cd ~/dev/ktrdr"))
    with held_slot() as one, held_slot() as another:
        slots = {"--slot 7": f"--slot {one}", "--slot 8": f"--slot {another}"}
        type_all(place, typed, slots)


def clone(place: Sandbox) -> None:
    origin = place.folder / "origin" / "ktrdr.git"
    git(place.repository.parent, "clone", "--quiet", str(origin), "ktrdr")


def type_all(
    place: Sandbox, typed: Sequence[Command], replaced: Mapping[str, str] = MappingProxyType({})
) -> None:
    """In one shell, so that a `cd` holds for what comes after it."""
    script = "\n".join(line for command in typed for line in lines_of(command))
    for shown, real in stand_ins(place).items():
        script = script.replace(shown, real)
    if replaced:  # all at once: one may become what another is
        shown = "|".join(map(re.escape, replaced))
        script = re.sub(shown, lambda found: replaced[found[0]], script)
    start = place.repository if place.repository.is_dir() else place.home
    environment = place.environment | demo_settings()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["GIT_CONFIG_GLOBAL"] = str(place.home / ".gitconfig")
    environment["SHELL"] = "/bin/bash"
    environment["KTRDR_SANDBOX_KTRDR_COMMAND"] = "echo"  # instead of the real ktrdr
    environment["XDG_CACHE_HOME"] = str(place.home / ".cache")
    run(["bash", "-c", script], cwd=start, environment=environment, timeout=580).expect(0)


def stand_ins(place: Sandbox) -> dict[str, str]:
    """For an address that nobody has: the same pack on this disk, and its checksum."""
    pack = place.home / "backup" / "shared.tar.gz"
    return {
        "https://example.org/pack.tar.gz": f"file://{pack}",
        "9f86d081...": hashlib.sha256(pack.read_bytes()).hexdigest(),
    }


def lines_of(command: Command) -> list[str]:
    """The command itself, and the end of all when it does not end as the page says."""
    if command.text in ELSEWHERE:
        return []
    wanted = "-ne" if command.fails else "-eq"
    said = shlex.quote(f"{command.place}: {command.text}: ended with")
    return [
        *(['rm -rf "$KTRDR_HOME"'] if command.fresh else []),
        f"echo {shlex.quote('$ ' + command.text)} >&2",
        command.text,
        f'ended=$?; [ "$ended" {wanted} 0 ] || {{ echo {said} "$ended" >&2; exit 1; }}',
    ]
