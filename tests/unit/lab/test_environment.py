"""The settings that the lab hands to a shell."""

import json
import subprocess
from pathlib import Path

from tests.lab import environment
from tests.lab.files import cache_folder

AWKWARD = {"KTRDR_A": "a b'c\"d$e`f", "KTRDR_B": ""}


def sourced(path: Path, command: str) -> str:
    script = f'set -eu; . "$1"; . "$1"; {command}'
    argv = ["/bin/sh", "-c", script, "sh", str(path)]
    return subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout


def test_a_shell_reads_the_values_as_they_are(tmp_path: Path) -> None:
    environment.write(tmp_path, AWKWARD, commands=tmp_path / "bin")
    assert (
        sourced(tmp_path / "env.sh", 'printf "%s|%s" "$KTRDR_A" "$KTRDR_B"')
        == f"{AWKWARD['KTRDR_A']}|"
    )
    assert json.loads((tmp_path / "env.json").read_text()) == AWKWARD


def test_path_grows_once(tmp_path: Path) -> None:
    commands = tmp_path / "a clone" / "bin"
    environment.write(tmp_path, {}, commands=commands)
    assert sourced(tmp_path / "env.sh", 'printf %s "$PATH"') == f"{commands}:/usr/bin:/bin"


def test_only_the_owner_reads_the_settings(tmp_path: Path) -> None:
    environment.write(tmp_path, AWKWARD, commands=tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "env.json": 0o600,
        "env.sh": 0o600,
    }


def test_the_cache_is_where_xdg_says() -> None:
    assert cache_folder({"HOME": "/h", "XDG_CACHE_HOME": "/c"}) == Path("/c/ktrdr-sandbox-lab")
    assert cache_folder({"HOME": "/h", "XDG_CACHE_HOME": "c"}) == Path(
        "/h/.cache/ktrdr-sandbox-lab"
    )
    assert cache_folder({"HOME": "/h", "XDG_CACHE_HOME": ""}) == Path("/h/.cache/ktrdr-sandbox-lab")


def test_an_empty_home_is_not_the_root_folder() -> None:
    assert cache_folder({"HOME": ""}).parent.parent not in (Path("/"), Path())
