"""The `ktrdr` command: what of a command line is its own."""

from __future__ import annotations

import pytest

from ktrdr_sandbox.alias import take_apart
from ktrdr_sandbox.errors import SandboxError


@pytest.mark.parametrize(
    ("line", "url", "port", "rest"),
    [
        ([], None, None, []),
        (["data", "list"], None, None, ["data", "list"]),
        (["-p", "8002", "data"], None, "8002", ["data"]),
        (["-p8002", "data"], None, "8002", ["data"]),
        (["-p=8002", "data"], None, "8002", ["data"]),
        (["--port", "8002", "data"], None, "8002", ["data"]),
        (["--port=8002", "data"], None, "8002", ["data"]),
        (["--port="], None, "", []),
        (["-u", "http://a", "data"], "http://a", None, ["data"]),
        (["-uhttp://a?b=c", "data"], "http://a?b=c", None, ["data"]),
        (["--url=http://a?b=c", "data"], "http://a?b=c", None, ["data"]),
        (["-p", "1", "-u", "http://a", "-p", "2", "data"], "http://a", "2", ["data"]),
        (["-p", "-1", "data"], None, "-1", ["data"]),
        # behind the subcommand nothing is ours
        (["data", "-p", "8002"], None, None, ["data", "-p", "8002"]),
        (["-p", "1", "data", "--url=x"], None, "1", ["data", "--url=x"]),
        (["--", "-p", "8002"], None, None, ["--", "-p", "8002"]),
        (["-", "-p", "8002"], None, None, ["-", "-p", "8002"]),
        (["", "-p", "8002"], None, None, ["", "-p", "8002"]),
        # options of the real one stay where they are
        (["--verbose", "-p", "1", "data"], None, "1", ["--verbose", "data"]),
        (["--config", "file", "-p", "1"], None, None, ["--config", "file", "-p", "1"]),
        (["--help"], None, None, ["--help"]),
        (["--portal=1", "--urls", "-vp"], None, None, ["--portal=1", "--urls", "-vp"]),
        (["list", "sandbox", "a b", "\udcff", "\n"], None, None, ["list", "sandbox", "a b"]),
    ],
)
def test_what_aims_is_taken_out(
    line: list[str], url: str | None, port: str | None, rest: list[str]
) -> None:
    found = take_apart(line)
    assert (found.url, found.port) == (url, port)
    untouched = [*rest, "\udcff", "\n"] if "\n" in line else rest
    assert list(found.rest) == untouched


@pytest.mark.parametrize("line", [["-p"], ["--port"], ["-u"], ["--verbose", "--url"]])
def test_an_option_without_its_value(line: list[str]) -> None:
    with pytest.raises(SandboxError) as caught:
        take_apart(line)
    assert caught.value.code == "usage"
    assert caught.value.message == f"Option '{line[-1]}' requires an argument."


def test_sandbox_commands_are_not_aimed_that_way() -> None:
    with pytest.raises(SandboxError) as caught:
        take_apart(["-p", "8002", "sandbox", "list"])
    assert caught.value.code == "usage"
    assert take_apart(["--verbose", "sandbox"]).rest == ("--verbose", "sandbox")
