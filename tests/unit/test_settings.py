from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import CHECKOUT_FILE, Settings, load_settings


class Places:
    """A home and a checkout that may each have a settings file."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.checkout = folder / "checkout"
        self.checkout.mkdir()

    def in_home(self, text: str) -> None:
        self.home.config.parent.mkdir(parents=True)
        self.home.config.write_text(text, encoding="utf-8")

    def in_checkout(self, text: str) -> None:
        (self.checkout / CHECKOUT_FILE).write_text(text, encoding="utf-8")

    def load(self) -> Settings:
        return load_settings(self.home, checkout=self.checkout)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_without_any_source_the_defaults_hold(places: Places) -> None:
    settings = places.load()
    assert settings.bind_address == "127.0.0.1"
    assert settings.gate_timeout == 120
    assert settings.health_paths == ("/health", "/api/v1/health")
    assert settings.heal_workers
    assert settings.migrate == "auto"
    assert settings.allow == frozenset()


def test_the_stronger_source_wins_key_by_key(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.in_home('gate_timeout = 1\nlock_patience = 1\nbind_address = "127.0.0.4"\n')
    places.in_checkout("gate_timeout = 2\nlock_patience = 2\n")
    monkeypatch.setenv("KTRDR_SANDBOX_GATE_TIMEOUT", "3")
    settings = places.load()
    assert settings.gate_timeout == 3
    assert settings.lock_patience == 2
    assert settings.bind_address == "127.0.0.4"


def test_without_a_checkout_its_file_does_not_count(places: Places) -> None:
    places.in_home("gate_timeout = 1\n")
    places.in_checkout("gate_timeout = 2\n")
    assert load_settings(places.home, checkout=None).gate_timeout == 1


def test_values_of_each_kind_from_variables(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KTRDR_SANDBOX_ALLOW", '["privileged"]')
    monkeypatch.setenv("KTRDR_SANDBOX_HEALTH_PATHS", '["/up"]')
    monkeypatch.setenv("KTRDR_SANDBOX_HEAL_WORKERS", "false")
    monkeypatch.setenv("KTRDR_SANDBOX_NETWORK_POOL", "10.201.0.0/16")
    settings = places.load()
    assert settings.allow == {"privileged"}
    assert settings.health_paths == ("/up",)
    assert not settings.heal_workers
    assert settings.network_pool == "10.201.0.0/16"


def test_an_ipv6_address_is_normalised(places: Places) -> None:
    places.in_home('bind_address = "0:0:0:0:0:0:0:1"\n')
    assert places.load().bind_address == "::1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('bind_address = "everywhere"\n', "bind_address"),
        ("gate_timeout = 0\n", "gate_timeout"),
        ("gate_timeout = -1\n", "gate_timeout"),
        ('gate_timeout = "soon"\n', "found 'soon'"),
        ('network_pool = "10.0.0.1/8"\n', "network_pool"),
        ('migrate = "sometimes"\n', "migrate"),
        ("no_such_setting = 1\n", "no_such_setting"),
        ("gate_timeout = = 1\n", "line 1"),
    ],
)
def test_bad_values_are_named_with_their_file(places: Places, text: str, told: str) -> None:
    places.in_checkout(text)
    with pytest.raises(SandboxError) as caught:
        places.load()
    error = caught.value
    assert error.code == "bad-settings"
    assert told in error.message
    assert error.details["files"] == [str(places.checkout / CHECKOUT_FILE)]
    assert str(places.checkout / CHECKOUT_FILE) in error.hints[0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KTRDR_SANDBOX_GATE_TIMEOUT", "soon"),
        ("KTRDR_SANDBOX_ALLOW", "privileged"),
        ("KTRDR_SANDBOX_HEAL_WORKERS", "perhaps"),
    ],
)
def test_bad_variables_are_told(
    places: Places, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SandboxError) as caught:
        places.load()
    assert caught.value.code == "bad-settings"
    assert "KTRDR_SANDBOX_*" in caught.value.hints[0]
    assert variable.removeprefix("KTRDR_SANDBOX_").lower() in caught.value.message.lower()


def test_several_bad_values_come_together(places: Places) -> None:
    places.in_home("gate_timeout = -1\nlock_patience = -1\n")
    with pytest.raises(SandboxError) as caught:
        places.load()
    assert len(caught.value.details["problems"]) == 2


def test_a_file_that_is_no_text(places: Places) -> None:
    (places.checkout / CHECKOUT_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SandboxError) as caught:
        places.load()
    assert caught.value.code == "bad-settings"


def test_variables_of_the_application_are_no_settings(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIND_ADDRESS", "0.0.0.0")
    monkeypatch.setenv("KTRDR_SANDBOX_UNKNOWN", "1")
    assert places.load().bind_address == "127.0.0.1"
