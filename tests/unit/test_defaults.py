"""Settings that nobody has set: the same by name and value as those that are judged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ktrdr_sandbox.configuration.defaults import (
    CHECKOUT_FILE,
    DEFAULTS,
    Defaults,
    NoHooks,
    is_nothing_set,
)
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import Settings, as_data, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home without settings, in an environment without any."""
    for name in [name for name in os.environ if name.startswith("KTRDR_SANDBOX_")]:
        monkeypatch.delenv(name)
    found = Home(tmp_path / "home")
    found.sandbox.mkdir(parents=True)
    return found


def test_every_setting_has_its_default_here(home: Home) -> None:
    judged = load_settings(home, checkout=None)
    names = [name for name in Settings.model_fields if name != "hooks"]
    assert {name: getattr(DEFAULTS, name) for name in names} == {
        name: getattr(judged, name) for name in names
    }
    assert set(Defaults._fields) == set(Settings.model_fields)


def test_no_hook_is_set(home: Home) -> None:
    assert NoHooks()._asdict() == dict(load_settings(home, checkout=None).hooks)


def test_as_data_does_not_tell_them_apart(home: Home) -> None:
    assert as_data(DEFAULTS) == as_data(load_settings(home, checkout=None))


def test_nothing_is_set(home: Home, tmp_path: Path) -> None:
    assert is_nothing_set(home, None)
    assert is_nothing_set(home, tmp_path)
    assert is_nothing_set(home, tmp_path / "gone")


@pytest.mark.parametrize("name", ["KTRDR_SANDBOX_GATE_TIMEOUT", "ktrdr_sandbox_nonsense"])
def test_a_variable_is_something(home: Home, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    assert not is_nothing_set(home, None)


def test_a_file_is_something_whatever_it_is(home: Home, tmp_path: Path) -> None:
    (tmp_path / CHECKOUT_FILE).symlink_to("nowhere")
    assert not is_nothing_set(home, tmp_path)
    assert is_nothing_set(home, None)
    home.config.mkdir()
    assert not is_nothing_set(home, None)


def test_what_cannot_be_looked_at_may_be_there(home: Home) -> None:
    endless = Path("/" + "/".join(["x" * 255] * 20))
    assert not is_nothing_set(home, endless)
