"""Which API address a command means: options, file, variables, default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ktrdr_sandbox.api_address import address_in, normal_url
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
            (root / "src" / "deep").mkdir(parents=True)
        self.file = self.worktree / ".env.sandbox"
        self.file.write_text(f"INSTANCE_ID=ktrdr--feat-x\n{PORT}=8002\n", encoding="utf-8")

    def register(self, path: Path) -> None:
        self.home.registry.parent.mkdir(parents=True)
        document = {"version": 1, "instances": {"ktrdr--feat-x": {"path": str(path), "slot": 2}}}
        self.home.registry.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


# (--url, --port, variables, directory) -> address, where from, variables that are passed over
TABLE = {
    "nothing at all": (None, None, {}, "main", MAIN, "default", ""),
    "outside of any checkout": (None, None, {}, "outside", MAIN, "default", ""),
    "the file": (None, None, {}, "worktree", FILE, "file", ""),
    "the file, from deep inside": (None, None, {}, "worktree/src/deep", FILE, "file", ""),
    "--url alone": (FAR, None, {}, "main", FAR, "--url", ""),
    "--port alone": (None, "8004", {}, "main", "http://localhost:8004", "--port", ""),
    "--url beats --port": (FAR, "8004", {}, "main", FAR, "--url", ""),
    "--url beats the file": (FAR, None, {}, "worktree", FAR, "--url", ""),
    "--port beats the file": (None, "8004", {}, "worktree", "http://localhost:8004", "--port", ""),
    "--port for the main one": (None, "8000", {}, "worktree", MAIN, "--port", ""),
    "--url beats all": (FAR, "8004", {URL: MAIN, PORT: "8003"}, "worktree", FAR, "--url", ""),
    "--port beats a variable": (None, "8004", {URL: FAR}, "main", f"{MAIN[:-1]}4", "--port", ""),
    "an address variable": (None, None, {URL: FAR}, "main", FAR, "variable", ""),
    "a port variable": (None, None, {PORT: "8003"}, "main", f"{MAIN[:-1]}3", "variable", ""),
    "address before port": (None, None, {URL: FAR, PORT: "8003"}, "main", FAR, "variable", ""),
    "empty variables": (None, None, {URL: "", PORT: ""}, "main", MAIN, "default", ""),
    "the file beats an address": (None, None, {URL: FAR}, "worktree", FILE, "file", f"{URL}={FAR}"),
    "the file beats the main one": (
        *(None, None, {URL: MAIN}, "worktree/src", FILE, "file"),
        f"{URL}={MAIN}",
    ),
    "the file beats a port": (
        *(None, None, {PORT: "8003"}, "worktree", FILE, "file"),
        f"{PORT}=8003",
    ),
    "the file beats both": (
        *(None, None, {URL: FAR, PORT: "8003"}, "worktree", FILE, "file"),
        f"{URL}={FAR} and {PORT}=8003",
    ),
    "one of two disagrees": (
        *(None, None, {URL: FILE, PORT: "8003"}, "worktree", FILE, "file"),
        f"{PORT}=8003",
    ),
    "the file beats junk": (None, None, {URL: "?"}, "worktree", FILE, "file", f"{URL}=?"),
    "both agree": (None, None, {URL: FILE, PORT: "8002"}, "worktree", FILE, "file", ""),
    "agrees with /api/v1/": (None, None, {URL: f"{FILE}/api/v1/"}, "worktree", FILE, "file", ""),
    "agrees by number": (None, None, {URL: "http://127.0.0.1:8002"}, "worktree", FILE, "file", ""),
    "agrees by IPv6": (None, None, {URL: "http://[::1]:8002/"}, "worktree", FILE, "file", ""),
    "https is another": (
        *(None, None, {URL: "https://localhost:8002"}, "worktree", FILE, "file"),
        f"{URL}=https://localhost:8002",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_order(places: Places, case: str) -> None:
    url, port, variables, where, expected, source, passed_over = TABLE[case]
    names = {"main": places.main, "outside": places.folder, "worktree": places.worktree}
    first, *deeper = where.split("/")
    found = address_in(
        names[first].joinpath(*deeper),
        url=url,
        port=port,
        environment=variables,
        home=places.home,
    )
    assert (found.url, found.source) == (expected, source)
    verb = "are" if " and " in passed_over else "is"
    told = f"{passed_over} {verb} ignored: {places.file} says {FILE}."
    assert found.warnings == ((told,) if passed_over else ())


def test_why_is_told(places: Places) -> None:
    def why(directory: Path, variables: Mapping[str, str] | None = None) -> str:
        return address_in(
            directory, url=None, port=None, environment=variables or {}, home=places.home
        ).why

    assert why(places.worktree / "src") == f"{places.file} says so"
    assert why(places.main, {PORT: "8003"}) == "KTRDR_API_PORT says so"
    assert why(places.main) == (
        "neither .env.sandbox nor a variable says otherwise: the main environment"
    )


@pytest.mark.parametrize(
    ("text", "port"),
    [(FILE, "8002"), ("http://host", "80"), (FAR, "443"), ("http://[::1]:8001", "8001")],
)
def test_the_variables_that_aim_a_program_agree(places: Places, text: str, port: str) -> None:
    found = address_in(places.main, url=text, port=None, environment={}, home=places.home)
    assert found.environment == {URL: text, PORT: port}


# -- a file that does not tell -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it has no KTRDR_API_PORT"),
        (b"INSTANCE_ID=ktrdr--feat-x\n", "it has no KTRDR_API_PORT"),
        (b"KTRDR_API_PORT\n", "it has no KTRDR_API_PORT"),
        (b"KTRDR_API_PORT=\n", "KTRDR_API_PORT= is no port (1 to 65535)"),
        (b"KTRDR_API_PORT=0\n", "KTRDR_API_PORT=0 is no port"),
        (b"KTRDR_API_PORT=65536\n", "KTRDR_API_PORT=65536 is no port"),
        (b"KTRDR_API_PORT=80x2\n", "KTRDR_API_PORT=80x2 is no port"),
        (b"KTRDR_API_PORT=-8002\n", "KTRDR_API_PORT=-8002 is no port"),
        ("KTRDR_API_PORT=\u0668\u0660\u0660\u0662\n".encode(), "is no port"),
        (b"KTRDR_API_PORT=${SLOT}\n", "KTRDR_API_PORT=${SLOT} is no port"),
        (b"\xff\xfe\x00", "Cannot read"),
    ],
)
@pytest.mark.parametrize("variables", [{}, {URL: MAIN}, {PORT: "8002"}])
def test_a_damaged_file_is_never_the_main_environment(
    places: Places, content: bytes, told: str, variables: dict[str, str]
) -> None:
    places.file.write_bytes(content)
    with pytest.raises(SandboxError) as caught:
        address_in(
            places.worktree / "src", url=None, port=None, environment=variables, home=places.home
        )
    assert caught.value.code == "env-file-damaged"
    assert told in caught.value.message
    assert str(places.file) in caught.value.message


def test_a_link_to_nothing_is_damaged_too(places: Places) -> None:
    places.file.unlink()
    places.file.symlink_to(places.folder / "gone")
    with pytest.raises(SandboxError) as caught:
        address_in(places.worktree, url=None, port=None, environment={}, home=places.home)
    assert caught.value.code == "env-file-damaged"


@pytest.mark.parametrize("option", [{"url": FAR, "port": None}, {"url": None, "port": "8004"}])
def test_an_option_helps_over_a_damaged_file(places: Places, option: dict[str, str | None]) -> None:
    places.file.write_bytes(b"\xff")
    found = address_in(
        places.worktree, url=option["url"], port=option["port"], environment={}, home=places.home
    )
    assert found.source in ("--url", "--port")


def test_an_instance_that_lost_its_file(places: Places) -> None:
    places.file.unlink()
    places.register(places.worktree)
    with pytest.raises(SandboxError) as caught:
        address_in(places.worktree / "src", url=None, port=None, environment={}, home=places.home)
    assert caught.value.code == "env-file-damaged"
    assert caught.value.message == (
        f"{places.worktree} is the instance ktrdr--feat-x, but its .env.sandbox is missing."
    )
    assert caught.value.hints[0] == "To have it written anew: ktrdr-sandbox env feat-x"
    by_variable = address_in(
        places.worktree, url=None, port=None, environment={URL: FAR}, home=places.home
    )
    assert by_variable.url == FAR
    elsewhere = address_in(places.main, url=None, port=None, environment={}, home=places.home)
    assert elsewhere.url == MAIN


@pytest.mark.parametrize("content", [b"ktrdr--feat-x {", b'"ktrdr--feat-x"', b"\xff", b"{}"])
def test_a_registry_that_tells_nothing_stops_nobody(places: Places, content: bytes) -> None:
    places.file.unlink()
    places.home.registry.parent.mkdir(parents=True)
    places.home.registry.write_bytes(content)
    found = address_in(places.worktree, url=None, port=None, environment={}, home=places.home)
    assert found.url == MAIN


# -- addresses as people write them --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:8001", "http://localhost:8001"),
        ("http://localhost:8001/", "http://localhost:8001"),
        ("http://localhost:8001//", "http://localhost:8001"),
        ("http://localhost:8001/api/v1", "http://localhost:8001"),
        ("http://localhost:8001/api/v1/", "http://localhost:8001"),
        (" http://localhost:8001\n", "http://localhost:8001"),
        ("HTTP://LocalHost:8001", "http://localhost:8001"),
        ("http://localhost", "http://localhost"),
        ("http://localhost:", "http://localhost"),
        ("https://api.example.org/ktrdr/api/v1", "https://api.example.org/ktrdr"),
        ("https://api.example.org/api/v2", "https://api.example.org/api/v2"),
        ("http://my_host-1.local:9", "http://my_host-1.local:9"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://[::1]:8001", "http://[::1]:8001"),
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
        ("8001", "does not begin with http:// or https://"),
        ("localhost:8001", "does not begin with http:// or https://"),
        ("ftp://localhost", "does not begin with http:// or https://"),
        ("file:///etc/passwd", "does not begin with http:// or https://"),
        ("http://", "has no host"),
        ("http:///api/v1", "has no host"),
        ("http://:8001", "has no host"),
        ("http://::1:8001", "cannot be read"),
        ("http://[::1:8001", "cannot be read"),
        (
            "http://[1.2.3]:8001",
            "cannot be read|has a host that is none",
        ),  # the first from 3.11.4 on
        ("http://localhost:port", "cannot be read"),
        ("http://localhost:65536", "cannot be read"),
        ("http://localhost:0", "has port 0"),
        ("http://local host:8001", "has a blank or a sign that no address has"),
        ("http://localhost:8001/a\tb", "has a blank or a sign that no address has"),
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
        ("localhost:8001", None, {}, "usage"),
        ("", None, {}, "usage"),
        (None, "0", {}, "usage"),
        (None, "65536", {}, "usage"),
        (None, "+8002", {}, "usage"),
        (None, "", {}, "usage"),
        (None, None, {URL: "localhost:8001"}, "bad-settings"),
        (None, None, {PORT: "eight"}, "bad-settings"),
    ],
)
def test_junk_that_was_given_is_told(
    places: Places, url: str | None, port: str | None, variables: dict[str, str], code: str
) -> None:
    with pytest.raises(SandboxError) as caught:
        address_in(places.main, url=url, port=port, environment=variables, home=places.home)
    assert caught.value.code == code
