from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.settings import CHECKOUT_FILE, FIELDS, Settings, is_nothing_set, load_settings
from ktrdr_sandbox.settings_sources import (
    HARMLESS,
    BadSettingsError,
    Resolution,
    is_personal,
    resolve,
)
from tests.support.processes import as_no_root


class Places:
    """A home and a checkout that may each have a settings file."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        self.checkout_file = self.checkout / CHECKOUT_FILE
        self.approved: set[tuple[Path, str]] = set()

    def in_home(self, text: str) -> None:
        self.home.config.parent.mkdir(parents=True, exist_ok=True)
        self.home.config.write_text(text, encoding="utf-8")

    def in_checkout(self, text: str) -> None:
        self.checkout_file.write_text(text, encoding="utf-8")

    def load(self) -> Settings:
        return load_settings(self.home, checkout=self.checkout)

    def plain(self) -> Settings:
        """What holds without the checkout."""
        return load_settings(self.home, checkout=None)

    def resolve(self) -> Resolution:
        return resolve(
            self.home,
            checkout=self.checkout,
            approved=lambda checkout, digest: (checkout, digest) in self.approved,
        )

    def approve(self) -> None:
        asked = self.resolve().asked
        assert asked is not None
        self.approved.add((self.checkout, asked.digest))

    def bad(self) -> BadSettingsError:
        with pytest.raises(BadSettingsError) as caught:
            self.load()
        assert caught.value.code == "bad-settings"
        return caught.value


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    for name in [name for name in os.environ if name.startswith("KTRDR_SANDBOX_")]:
        monkeypatch.delenv(name)
    return Places(tmp_path)


def test_without_any_source_the_defaults_hold(places: Places) -> None:
    assert is_nothing_set(places.home, places.checkout)
    assert places.load() == places.resolve().settings == Settings()


@pytest.mark.parametrize("name", ["KTRDR_SANDBOX_GATE_TIMEOUT", "ktrdr_sandbox_nonsense"])
def test_a_variable_is_something(
    places: Places, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "7")
    assert not is_nothing_set(places.home, None)


def test_a_file_is_something_whatever_it_is(places: Places) -> None:
    places.checkout_file.symlink_to("nowhere")
    assert not is_nothing_set(places.home, places.checkout)
    assert is_nothing_set(places.home, None)
    endless = Path("/" + "/".join(["x" * 255] * 20))
    assert not is_nothing_set(places.home, endless)


def test_the_stronger_source_wins_key_by_key(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.in_home('gate_timeout = 1\nhook_timeout = 1\nbind_address = "127.0.0.4"\n')
    places.in_checkout("gate_timeout = 2\n\nhook_timeout = 2\n")
    monkeypatch.setenv("KTRDR_SANDBOX_GATE_TIMEOUT", "3")
    found = places.resolve()
    origins = {key: str(found.origins[key]) for key in FIELDS}
    assert (found.settings.gate_timeout, origins["gate_timeout"]) == (
        3,
        "KTRDR_SANDBOX_GATE_TIMEOUT",
    )
    assert (found.settings.hook_timeout, origins["hook_timeout"]) == (
        2,
        f"{places.checkout_file}, line 3",
    )
    assert (found.settings.bind_address, origins["bind_address"]) == (
        "127.0.0.4",
        f"{places.home.config}, line 3",
    )
    assert origins["migrate"] == "default"


def test_hooks_are_weighed_one_by_one(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.in_home('[hooks]\nafter_create = ["a"]\nafter_ready = ["b", "c"]\n')
    monkeypatch.setenv("KTRDR_SANDBOX_HOOKS__AFTER_CREATE", '[["d"], ["e", "f"]]')
    found = places.resolve()
    assert found.settings.hooks.after_create == (("d",), ("e", "f"))
    assert found.settings.hooks.after_ready == (("b", "c"),)
    assert str(found.origins["hooks.after_create"]) == "KTRDR_SANDBOX_HOOKS__AFTER_CREATE"
    assert str(found.origins["hooks.after_ready"]) == f"{places.home.config}, line 3"


def test_a_whole_table_in_a_variable(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTRDR_SANDBOX_HOOKS", '{"after_ready": ["b", "c"]}')
    found = places.resolve()
    assert found.settings.hooks.after_ready == (("b", "c"),)
    assert str(found.origins["hooks.after_ready"]) == "KTRDR_SANDBOX_HOOKS"


def test_without_a_checkout_its_file_does_not_count(places: Places) -> None:
    places.in_home("gate_timeout = 1\n")
    places.in_checkout("gate_timeout = 2\n")
    assert load_settings(places.home, checkout=None).gate_timeout == 1


@pytest.mark.parametrize(
    ("allow", "paths"),
    [('["privileged", "x"]', '["/up"]'), ("privileged,x", "/up"), (" privileged , x,", " /up ")],
)
def test_values_of_each_kind_from_variables(
    places: Places, monkeypatch: pytest.MonkeyPatch, allow: str, paths: str
) -> None:
    monkeypatch.setenv("KTRDR_SANDBOX_ALLOW", allow)
    monkeypatch.setenv("KTRDR_SANDBOX_HEALTH_PATHS", paths)
    monkeypatch.setenv("KTRDR_SANDBOX_HEAL_WORKERS", "false")
    monkeypatch.setenv("KTRDR_SANDBOX_NETWORK_POOL", "10.201.0.0/16")
    monkeypatch.setenv("KTRDR_SANDBOX_KTRDR_COMMAND", "uv,run,ktrdr")
    settings = places.load()
    assert settings.ktrdr_command == ("uv", "run", "ktrdr")
    assert settings.allow == {"privileged", "x"}
    assert settings.health_paths == ("/up",)
    assert not settings.heal_workers
    assert settings.network_pool == "10.201.0.0/16"


def test_an_ipv6_address_is_normalised(places: Places) -> None:
    places.in_home('bind_address = "0:0:0:0:0:0:0:1"\n')
    assert places.load().bind_address == "::1"


# -- bad values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ('bind_address = "everywhere"\n', 1, "bind_address: 'everywhere' does not appear to be"),
        ("\ngate_timeout = 0\n", 2, "gate_timeout: should be greater than 0 (found 0)"),
        ('gate_timeout = "soon"\n', 1, "gate_timeout: should be a valid number"),
        ('network_pool = "10.0.0.1/8"\n', 1, "network_pool: 10.0.0.1/8 has host bits set"),
        ('migrate = "sometimes"\n', 1, "migrate: should be 'auto', 'always' or 'never'"),
        ("allow = [1]\n", 1, "allow: entry 1 should be a valid string (found 1)"),
        ("no_such_setting = 1\n", 1, "no_such_setting: no such setting, in"),
        ("gate_timout = 1\n", 1, "gate_timout: no such setting; did you mean 'gate_timeout'?"),
        ("[hooks]\nafter_crate = []\n", 2, "did you mean 'hooks.after_create'?"),
        ('[hooks]\nafter_create = "uv sync"\n', 2, "hooks.after_create: should be a list of words"),
        ('[hooks]\nafter_create = [["a"], []]\n', 2, "hooks.after_create: each command should be"),
        ('[hooks]\nafter_create = ["a", ["b"]]\n', 2, "hooks.after_create: each command should"),
        ("hooks = 3\n", 1, "hooks: should be a valid dictionary"),
        ("gate_timeout = = 1\n", 1, "no valid TOML: Invalid value (column 16)"),
    ],
)
@pytest.mark.parametrize("where", ["home", "checkout"])
def test_bad_values_are_told_with_their_place(
    places: Places, text: str, line: int, told: str, where: str
) -> None:
    (places.in_home if where == "home" else places.in_checkout)(text)
    path = places.home.config if where == "home" else places.checkout_file
    error = places.bad()
    assert told in error.message
    assert f"in {path}, line {line}" in error.message
    assert error.details["files"] == [str(path)]
    assert [entry["line"] for entry in error.details["found"]] == [line]
    assert error.hints == (f"Correct {path}",)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KTRDR_SANDBOX_GATE_TIMEOUT", "soon"),
        ("KTRDR_SANDBOX_ALLOW", '["unfinished'),
        ("KTRDR_SANDBOX_HEAL_WORKERS", "perhaps"),
        ("KTRDR_SANDBOX_HOOKS__AFTER_CREATE", "uv sync"),
    ],
)
def test_bad_variables_are_told(
    places: Places, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    error = places.bad()
    key = variable.removeprefix("KTRDR_SANDBOX_").lower().replace("__", ".")
    assert error.details["problems"][0].startswith(f"{key}: ")
    assert error.details["problems"][0].endswith(f"in {variable}")
    assert error.hints == (f"Correct {variable}",)


def test_several_bad_values_come_together(places: Places) -> None:
    places.in_home("gate_timeout = -1\nlock_patience = -1\nstrange = 1\n")
    found = places.bad().details["found"]
    assert sorted(entry["setting"] for entry in found) == [
        "gate_timeout",
        "lock_patience",
        "strange",
    ]


def test_a_bad_value_is_told_even_where_a_stronger_source_hides_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.in_home("gate_timeout = -1\n")
    monkeypatch.setenv("KTRDR_SANDBOX_GATE_TIMEOUT", "3")
    assert str(places.home.config) in places.bad().message


def test_a_file_that_is_no_text(places: Places) -> None:
    places.checkout_file.write_bytes(b"a = 1 #\xff\xfe\x00")
    assert "byte 7 is not UTF-8" in places.bad().message


@pytest.mark.parametrize("goal", [None, "/dev/zero", "nowhere"])
def test_what_is_no_regular_file_is_not_opened(places: Places, goal: str | None) -> None:
    if goal is None:
        places.checkout_file.mkdir()
    else:
        places.checkout_file.symlink_to(goal)
    assert "it is not a regular file" in places.bad().message


def test_a_file_that_may_not_be_read(places: Places) -> None:
    places.in_home("")
    places.home.config.chmod(0)
    with as_no_root(places.home.config):
        assert "Permission denied" in places.bad().message


def test_a_variable_that_is_no_setting_is_told_and_ignored(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIND_ADDRESS", "0.0.0.0")
    near = "KTRDR_SANDBOX_TRASH_DAY"
    monkeypatch.setenv(near, "1")
    monkeypatch.setenv("KTRDR_SANDBOX_X", "1")
    found = places.resolve()
    assert found.settings == places.plain()
    assert tuple(found.remarks.values()) == (
        f"{near}: no such setting; did you mean '{near}S'? (ignored)",
        "KTRDR_SANDBOX_X: no such setting (ignored)",
    )


# -- what a checkout may set ---------------------------------------------------------------------

LOOSENING: dict[str, tuple[str, Any]] = {
    "allow": ('allow = ["host-pid"]', ["host-pid"]),
    "bind_address": ('bind_address = "0.0.0.0"', "0.0.0.0"),
    "network_pool": ('network_pool = "10.201.0.0/16"', "10.201.0.0/16"),
    "hooks.after_create": ('[hooks]\nafter_create = ["a"]', [["a"]]),
    "hooks.after_ready": ('[hooks]\nafter_ready = ["a"]', [["a"]]),
    "hooks.before_destroy": ('[hooks]\nbefore_destroy = ["a"]', [["a"]]),
}


@pytest.mark.parametrize("key", LOOSENING)
def test_a_checkout_loosens_nothing_without_approval(places: Places, key: str) -> None:
    text, value = LOOSENING[key]
    places.in_checkout(text)
    found = places.resolve()
    assert found.settings == places.plain()
    assert found.asked is not None
    assert not found.approved
    assert dict(found.asked.values) == {key: value}
    (remark,) = found.remarks.values()
    assert remark.startswith(f"{places.checkout_file} sets {key}: ignored")
    places.approve()
    after = places.resolve()
    assert after.each()[key].value == value
    assert (after.approved, after.remarks) == (True, {})


@pytest.mark.parametrize("key", LOOSENING)
def test_the_users_own_file_needs_no_approval(places: Places, key: str) -> None:
    text, value = LOOSENING[key]
    places.in_home(text)
    assert places.resolve().each()[key].value == value


def test_the_users_own_value_stands_where_the_checkouts_is_not_approved(places: Places) -> None:
    places.in_home('[hooks]\nafter_create = ["own"]\n')
    places.in_checkout('gate_timeout = 7\n[hooks]\nafter_create = ["theirs"]\n')
    settings = places.load()
    assert settings.hooks.after_create == (("own",),)
    assert settings.gate_timeout == 7


def test_changed_content_needs_a_new_approval(places: Places) -> None:
    places.in_checkout('[hooks]\nafter_create = ["a"]\n')
    places.approve()
    places.in_checkout('[hooks]\nafter_create = ["a", "b"]\n')
    assert places.load().hooks.after_create == ()
    places.in_checkout('# moved\ngate_timeout = 9\n\n[hooks]\nafter_create = [["a"]]\n')
    assert places.resolve().settings.hooks.after_create == (("a",),)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_an_address_that_nobody_else_reaches_is_free(places: Places, address: str) -> None:
    places.in_checkout(f'bind_address = "{address}"\nallow = []\n')
    found = places.resolve()
    assert (found.settings.bind_address, found.remarks) == (address, {})


def test_settings_of_the_machine_are_not_a_checkouts(places: Places) -> None:
    places.in_checkout('trash_days = 0\ndemo_python_image = "evil"\n')
    found = places.resolve()
    assert found.settings == places.plain()
    assert [remark.partition(": ")[2].split()[0] for remark in found.remarks.values()] == [
        "demo_python_image",
        "trash_days",
    ]


def test_what_is_withheld_is_judged_all_the_same(places: Places) -> None:
    places.in_checkout('bind_address = "nonsense"\n')
    assert "bind_address" in places.bad().message


def test_no_setting_is_harmless_by_being_forgotten() -> None:
    """A new one needs approval until somebody has thought about it."""
    assert set(FIELDS) >= HARMLESS
    assert not any(key.startswith("hooks") or is_personal(key) for key in HARMLESS)
