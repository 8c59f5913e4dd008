"""Which API address a command means: options, file, variables, default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ktrdr_sandbox.api_address import ApiAddress, address_in, normal_url
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home

URL, PORT = "KTRDR_API_URL", "KTRDR_API_PORT"
MAIN = "http://localhost:8000"
FILE = "http://localhost:8002"
FAR = "https://api.example.org/ktrdr"


class Places:
    """A worktree with a file of slot 2, a checkout without one, and nothing around them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.worktree = folder / "ktrdr--feat-x"
        self.main = folder / "ktrdr"
        for root in (self.worktree, self.main):
            (root / ".git").mkdir(parents=True)
            (root / "src").mkdir()
        self.file = self.worktree / ".env.sandbox"
        self.file.write_text(f"INSTANCE_ID=ktrdr--feat-x\n{PORT}=8002\n", encoding="utf-8")
        self.home.registry.parent.mkdir(parents=True)

    def register(self) -> None:
        document = {"version": 1, "instances": {"ktrdr--feat-x": {"path": str(self.worktree)}}}
        self.home.registry.write_text(json.dumps(document), encoding="utf-8")

    def address(
        self,
        where: str,
        variables: Mapping[str, str] | None = None,
        *,
        url: str | None = None,
        port: str | None = None,
    ) -> ApiAddress:
        return address_in(
            self.folder / where, url=url, port=port, environment=variables or {}, home=self.home
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


HERE, THERE = "ktrdr", "ktrdr--feat-x/src"


@pytest.mark.parametrize(
    ("url", "port", "variables", "where", "expected", "source"),
    [
        (None, None, {}, HERE, MAIN, "default"),
        (None, None, {}, ".", MAIN, "default"),
        (None, None, {}, THERE, FILE, "file"),
        (FAR, "8004", {URL: MAIN, PORT: "8003"}, THERE, FAR, "--url"),
        (None, "8004", {URL: FAR}, HERE, "http://localhost:8004", "--port"),
        (None, "8000", {}, THERE, MAIN, "--port"),
        (None, None, {URL: FAR, PORT: "8003"}, HERE, FAR, "variable"),
        (None, None, {PORT: "8003"}, HERE, "http://localhost:8003", "variable"),
        (None, None, {URL: "", PORT: ""}, HERE, MAIN, "default"),
    ],
)
def test_the_order(
    places: Places,
    url: str | None,
    port: str | None,
    variables: dict[str, str],
    where: str,
    expected: str,
    source: str,
) -> None:
    found = places.address(where, variables, url=url, port=port)
    assert (found.url, found.source, found.warnings) == (expected, source, ())


@pytest.mark.parametrize(
    ("variables", "passed_over"),
    [
        ({URL: FAR}, f"{URL}={FAR} is"),
        ({URL: MAIN}, f"{URL}={MAIN} is"),
        ({PORT: "8003"}, f"{PORT}=8003 is"),
        ({URL: FAR, PORT: "8003"}, f"{URL}={FAR} and {PORT}=8003 are"),
        ({URL: FILE, PORT: "8003"}, f"{PORT}=8003 is"),
        ({URL: "?"}, f"{URL}=? is"),
        ({URL: "https://localhost:8002"}, f"{URL}=https://localhost:8002 is"),
        ({URL: FILE, PORT: "8002"}, ""),
        ({URL: f"{FILE}/api/v1/"}, ""),
        ({URL: "http://127.0.0.1:8002"}, ""),
        ({URL: "http://[::1]:8002/"}, ""),
    ],
)
def test_the_file_beats_variables_and_says_so(
    places: Places, variables: dict[str, str], passed_over: str
) -> None:
    found = places.address(THERE, variables)
    assert (found.url, found.source) == (FILE, "file")
    told = f"{passed_over} ignored: {places.file} says {FILE}."
    assert found.warnings == ((told,) if passed_over else ())


def test_why_is_told(places: Places) -> None:
    assert places.address(THERE).why == f"{places.file} says so"
    assert places.address(HERE, {PORT: "8003"}).why == "KTRDR_API_PORT says so"
    assert places.address(HERE).why == (
        "neither .env.sandbox nor a variable says otherwise: the main environment"
    )


@pytest.mark.parametrize(
    ("text", "port"),
    [(FILE, "8002"), ("http://host", "80"), (FAR, "443"), ("http://[::1]:8001", "8001")],
)
def test_the_variables_that_aim_a_program_agree(places: Places, text: str, port: str) -> None:
    assert places.address(HERE, url=text).port == int(port)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it has no KTRDR_API_PORT"),
        (b"KTRDR_API_PORT\n", "it has no KTRDR_API_PORT"),
        (b"KTRDR_API_PORT=\n", "KTRDR_API_PORT= is no port (1 to 65535)"),
        (b"KTRDR_API_PORT=65536\n", "KTRDR_API_PORT=65536 is no port"),
        ("KTRDR_API_PORT=\u0668\u0660\u0660\u0662\n".encode(), "is no port"),
        (b"\xff\xfe\x00", "Cannot read"),
        (None, "Cannot read"),
    ],
)
def test_a_damaged_file_is_never_the_main_environment(
    places: Places, content: bytes | None, told: str
) -> None:
    if content is None:
        places.file.unlink()
        places.file.symlink_to(places.folder / "gone")
    else:
        places.file.write_bytes(content)
    for variables in ({}, {URL: MAIN}):
        with pytest.raises(SandboxError) as caught:
            places.address(THERE, variables)
        assert caught.value.code == "env-file-damaged"
        assert told in caught.value.message
        assert str(places.file) in caught.value.message
    assert places.address(THERE, port="8004").source == "--port"


def test_an_instance_that_lost_its_file(places: Places) -> None:
    places.file.unlink()
    places.register()
    with pytest.raises(SandboxError) as caught:
        places.address(THERE)
    assert caught.value.code == "env-file-damaged"
    assert caught.value.message == (
        f"{places.worktree} is the instance ktrdr--feat-x, but its .env.sandbox is missing."
    )
    assert caught.value.hints[0] == "To have it written anew: ktrdr-sandbox env feat-x"
    assert places.address(THERE, {URL: FAR}).url == FAR
    assert places.address(HERE).url == MAIN


@pytest.mark.parametrize("content", [b"ktrdr--feat-x {", b'"ktrdr--feat-x"', b"\xff", b"{}"])
def test_a_registry_that_tells_nothing_stops_nobody(places: Places, content: bytes) -> None:
    places.file.unlink()
    places.home.registry.write_bytes(content)
    assert places.address(THERE).url == MAIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:8001//", "http://localhost:8001"),
        ("http://localhost:8001/api/v1/", "http://localhost:8001"),
        (" http://localhost:8001\n", "http://localhost:8001"),
        ("HTTP://LocalHost:8001", "http://localhost:8001"),
        ("http://localhost:", "http://localhost"),
        ("https://api.example.org/ktrdr/api/v1", "https://api.example.org/ktrdr"),
        ("https://api.example.org/api/v2", "https://api.example.org/api/v2"),
        ("http://my_host-1.local:9", "http://my_host-1.local:9"),
        ("http://[::1]", "http://[::1]"),
        ("http://[2001:DB8::0:1]:8001/api/v1", "http://[2001:db8::1]:8001"),
    ],
)
def test_one_spelling(text: str, expected: str) -> None:
    assert normal_url(text) == expected
    assert normal_url(expected) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with http:// or https://"),
        ("localhost:8001", "does not begin with http:// or https://"),
        ("ftp://localhost", "does not begin with http:// or https://"),
        ("http:///api/v1", "has no host"),
        ("http://:8001", "has no host"),
        ("http://::1:8001", "cannot be read"),
        ("http://[1.2.3]:8001", "cannot be read|has a host that is none"),  # by version of Python
        ("http://localhost:65536", "cannot be read"),
        ("http://localhost:0", "has port 0"),
        ("http://local host:8001", "has a blank or a sign that no address has"),
        ("http://localhost\\@evil", "has a blank or a sign that no address has"),
        ("http://me:secret@localhost", "has a user or a password in it"),
        ("http://localhost/?a=1", "has a query or a fragment"),
        ("http://localhost/#", "has a query or a fragment"),
        ("http://-:8001", "has a host that is none"),
        ("http://a%20b", "has a host that is none"),
    ],
)
def test_junk(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normal_url(text)


@pytest.mark.parametrize(
    ("url", "port", "variables", "code"),
    [
        ("", None, {}, "usage"),
        (None, "0", {}, "usage"),
        (None, "+8002", {}, "usage"),
        (None, None, {URL: "localhost:8001"}, "bad-settings"),
        (None, None, {PORT: "eight"}, "bad-settings"),
    ],
)
def test_junk_that_was_given_is_told(
    places: Places, url: str | None, port: str | None, variables: dict[str, str], code: str
) -> None:
    with pytest.raises(SandboxError) as caught:
        places.address(HERE, variables, url=url, port=port)
    assert caught.value.code == code
