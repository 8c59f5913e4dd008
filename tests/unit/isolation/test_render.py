from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ktrdr_sandbox.isolation.override import Entry, render
from ktrdr_sandbox.isolation.request import IsolatedStack, Notice
from ktrdr_sandbox.models import Stack
from tests.unit.isolation.requests import a_request, an_instance, isolated, port


def rendered(document: dict[str, Any], *notices: Notice, **instance: Any) -> str:
    isolation = IsolatedStack(
        override=document,
        changes=(),
        refusals=(),
        notices=notices,
        stack=Stack(services=(), ports=()),
        images=(),
        seeds={},
        bind_sources=(),
        memberships=(),
        env={},
    )
    return render(isolation, a_request(an_instance(**instance)))


def read(text: str) -> Any:
    """As a parser of YAML 1.2 reads it; Compose's own is asked in the corpus."""
    return YAML(typ="safe", pure=True).load(text)


def test_the_whole_text() -> None:
    text = rendered(
        {
            "services": {
                "web": {
                    "container_name": Entry(None, "one per engine", "!reset"),
                    "ports": Entry(
                        [Entry({"target": 80, "published": "20200"}, "was 8080"), "x"],
                        "the slot's",
                        "!override",
                    ),
                    "on": {"empty": {}, "none": [], "yes": True, "nested": [["a"]]},
                    "a key": Entry("value", ""),
                }
            },
        },
        Notice(service="web", text="has the engine's socket"),
        Notice(service=None, text="a\nb"),
    )
    assert text == (
        "# Instance ktrdr--feat-x, slot 2: /dev/code/ktrdr--feat-x\n"
        "#\n"
        "# Laid over the checkout's own Compose files, which stay as they are. Made anew by every\n"
        "# `ktrdr-sandbox up` from what those files say then: edits here are lost.\n"
        "# Note: web: has the engine's socket\n"
        "# Note: a\\nb\n"
        "\n"
        "services:\n"
        "  web:\n"
        "    # one per engine\n"
        "    container_name: !reset null\n"
        "    # the slot's\n"
        "    ports: !override\n"
        "      # was 8080\n"
        "      - target: 80\n"
        '        published: "20200"\n'
        '      - "x"\n'
        '    "on":\n'
        "      empty: {}\n"
        "      none: []\n"
        '      "yes": true\n'
        "      nested:\n"
        "        -\n"
        '          - "a"\n'
        '    "a key": "value"\n'
    )


def test_every_entry_has_its_reason() -> None:
    isolation = isolated(
        {
            "backend": {
                "container_name": "x",
                "build": {"context": "/dev/code/ktrdr"},
                "image": "app:dev",
                "ports": [port(8000, 8000)],
                "networks": ["default"],
                "mac_address": "02:42:ac:11:65:43",
            }
        },
        networks={"default": {"name": "fixed"}},
        volumes={"pg": {"external": True}},
    )
    lines = render(isolation, a_request()).splitlines()
    for line in lines:
        if "!reset" in line or "!override" in line:
            assert lines[lines.index(line) - 1].lstrip().startswith("# "), line
    reasons = {change.reason for change in isolation.changes}
    assert all(any(reason in line for line in lines) for reason in reasons)


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "no", "on", "null", "~", "", " ", "1e3", "012", "0o17", "1:30", "2026-01-01"),
        *("# no comment", "a: b", "- a", "!tag", "&a", "*a", "{a}", "[a]", "|", ">", "%a", "@a"),
        *("it's", 'say "hi"', "back\\slash", "tab\t", "two\nlines", "\r\n", "\x00", "\x7f"),
        *("größe", "数据", "😀", "\u0085", "\u2028", "\u2029", "\ufeff", "\ufffe", "\xa0"),
    ],
)
def test_strings_arrive_as_they_are(text: str) -> None:
    document = {"services": {text: {"value": text, "list": [text]}}}
    assert read(rendered(document)) == document


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=plain_values)
def test_values_arrive_as_they_are(value: Any) -> None:
    assert read(rendered({"services": {"value": value}})) == {"services": {"value": value}}


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_comment_ever_ends_early(text: str) -> None:
    document: dict[str, Any] = {"services": {"web": Entry("value", text)}}
    assert read(rendered(document, Notice(service=None, text=text))) == {
        "services": {"web": "value"}
    }
