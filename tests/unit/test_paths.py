from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home, demo_folder, log_folder


def test_everything_lies_under_one_root() -> None:
    home = Home(Path("/h"))
    assert home.registry == Path("/h/sandbox/instances.json")
    assert home.registry_lock == Path("/h/sandbox/instances.lock")
    assert home.config == Path("/h/sandbox/config.toml")
    assert home.shared == Path("/h/shared")
    assert home.state_of("ktrdr--x") == Path("/h/sandbox/instances/ktrdr--x")
    assert home.instance_lock("ktrdr--x") == Path("/h/sandbox/locks/ktrdr--x.lock")


def test_each_repository_has_its_own_lock() -> None:
    home = Home(Path("/h"))
    one = home.repository_lock(Path("/code/ktrdr/.git"))
    other = home.repository_lock(Path("/code/other/.git"))
    assert one != other
    assert one == home.repository_lock(Path("/code/ktrdr/.git"))
    assert {one.parent, other.parent} == {Path("/h/sandbox/locks")}
    assert home.repository_lock(Path("/c/\udcff/.git")).name.startswith("repository-")


def test_the_default_root_is_below_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/me")
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("KTRDR_HOME")
        else:
            monkeypatch.setenv("KTRDR_HOME", value)
        assert Home.from_environment().root == Path("/users/me/.ktrdr")


@pytest.mark.parametrize(
    ("value", "root"), [("/k", "/k"), ("~/k", "/users/me/k"), ("k", "{cwd}/k")]
)
def test_a_variable_moves_the_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/users/me")
    monkeypatch.setenv("KTRDR_HOME", value)
    assert Home.from_environment().root == Path(root.format(cwd=tmp_path))


def test_logs_and_the_demo_are_where_the_platform_says(tmp_path: Path) -> None:
    here = Path.home()
    assert log_folder().is_relative_to(here)
    assert demo_folder().is_relative_to(here)
    assert "ktrdr-sandbox" in str(log_folder())
    assert demo_folder().name == "demo"


@pytest.mark.parametrize(
    ("configured", "told"), [("~nobody-of-that-name/x", "no such user"), ("", "HOME is not set")]
)
def test_an_environment_that_means_no_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, configured: str, told: str
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setenv("KTRDR_HOME", configured)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(SandboxError, match=told) as raised:
        Home.from_environment()
    assert raised.value.code == "bad-settings"
    assert raised.value.hints == ("Set KTRDR_HOME to a folder of yours.",)
