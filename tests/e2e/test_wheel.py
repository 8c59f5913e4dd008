"""The built wheel in an empty virtual environment does what the source checkout does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.http import get_json
from tests.support.real_ktrdr import script
from tests.support.stacks import (
    Sandbox,
    account_home,
    base_environment,
    run,
    sample_images,
    sandbox,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(400),
]

CHECKOUT = Path(__file__).parents[2]
MAKE_REPOSITORY = """
import json, pathlib, sys
from ktrdr_sandbox.commands.demo import make_repository
make_repository(pathlib.Path(sys.argv[1]), images=json.loads(sys.argv[2]), branches=[sys.argv[3]])
"""
MOUNT = """
import typer
from importlib.metadata import entry_points
cli = typer.Typer()
cli.command("data")(lambda: None)
for found in entry_points(group="ktrdr.commands"):
    cli.add_typer(found.load(), name=found.name)
cli(prog_name="ktrdr")
"""


@dataclass(frozen=True)
class Installation:
    """A virtual environment with nothing in it but the wheel and what it needs."""

    root: Path

    @property
    def program(self) -> Path:
        return self.root / "bin" / "ktrdr-sandbox"

    def python(self, *arguments: str) -> str:
        return command([str(self.root / "bin" / "python"), *arguments], cwd=self.root)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy of what git has is not enough: what is not committed yet has to work as well.
    command([sys.executable, "-m", "build", "--wheel", "--outdir", "out", str(CHECKOUT)], folder)
    (wheel,) = (folder / "out").iterdir()
    command([sys.executable, "-m", "venv", "venv"], folder)
    made = Installation(folder / "venv")
    made.python("-m", "pip", "install", "--quiet", str(wheel))
    return made


def command(argv: Sequence[str], cwd: Path) -> str:
    """Standard output of a command, which has to succeed."""
    cache = os.environ.get("PIP_CACHE_DIR") or account_home() / ".cache" / "pip"
    environment = base_environment() | {
        "PIP_CACHE_DIR": str(cache),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return run(argv, cwd=cwd, environment=environment).expect(0).stdout


def test_every_packaged_compose_file_comes_along(installation: Installation) -> None:
    where = "import ktrdr_sandbox.commands.compose_files as c; print(c.compose_folder())"
    installed = Path(installation.python("-c", where).strip())
    assert installed.is_relative_to(installation.root)
    assert contents(installed) == contents(CHECKOUT / "compose")


def contents(folder: Path) -> dict[str, bytes]:
    """Files by their path, but for what Python leaves behind when it runs them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_seed_pack_comes_along(installation: Installation, tmp_path: Path) -> None:
    environment = base_environment() | {"HOME": str(tmp_path), "KTRDR_HOME": str(tmp_path / "home")}
    argv = [str(installation.program), "init-shared", "--minimal", "--json"]
    data = run(argv, cwd=tmp_path, environment=environment).expect(0).data
    assert data["copied"]["new"] == 7
    packed = contents(CHECKOUT / "src" / "ktrdr_sandbox" / "shared" / "seed")
    held = contents(tmp_path / "home" / "shared")
    assert held == {path: content for path, content in packed.items() if path in held}


def test_the_ktrdr_command_comes_along(installation: Installation, tmp_path: Path) -> None:
    """It passes itself over on PATH, becomes the real one, and is mounted by the entry point."""
    own = installation.root / "bin" / "ktrdr"
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "ktrdr").symlink_to(own)  # as pipx does it
    real = script(tmp_path / "real" / "ktrdr", 'echo "$KTRDR_API_URL" "$@"; exit 7')
    path = f"{tmp_path / 'shims'}:{own.parent}:{real.parent}:/usr/bin:/bin"
    environment = base_environment() | {"HOME": str(tmp_path), "PATH": path}
    shim = str(tmp_path / "shims" / "ktrdr")
    done = run([shim, "-p", "8003", "data", "-p", "1"], cwd=tmp_path, environment=environment)
    assert done.expect(7).stdout == "http://localhost:8003 data -p 1\n"
    version = run([shim, "sandbox", "--version"], cwd=tmp_path, environment=environment)
    assert version.expect(0).stdout.startswith("ktrdr-sandbox ")
    mounted = installation.python("-c", MOUNT, "sandbox", "url", "--port", "8004")
    assert mounted == "http://localhost:8004\n"


def test_create_up_and_destroy_from_the_wheel(
    installation: Installation, tmp_path: Path, mark: str
) -> None:
    with sandbox(tmp_path / "place", program=[str(installation.program)]) as place:
        name = f"{mark}-wheel"
        make_repository(installation, place, name)
        stack = place.create(name)
        up = place.up(stack).expect(0).data
        assert up["gate"]["passed"] is True
        assert len(stack.containers()) == 11
        answer = get_json(stack.url("/api/v1/info"))
        assert (answer["instance_id"], answer["greeting"]) == (stack.id, name)
        place.run("destroy", name, "--yes").expect(0)
        assert stack.leftovers() == []
        assert place.listed() == {}


def make_repository(installation: Installation, place: Sandbox, branch: str) -> None:
    """From the sample in the wheel, by the code in the wheel."""
    chosen = json.dumps(dict(sample_images()))
    installation.python("-c", MAKE_REPOSITORY, str(place.repository), chosen, branch)
