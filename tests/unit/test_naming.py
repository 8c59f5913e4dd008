from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.naming import (
    LONGEST_NAME,
    alternatives,
    checked_name,
    derive_instance_id,
    instance_id,
)

PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""Compose's own rule for project names."""

IMAGE_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
"""The distribution reference grammar's rule for a path component."""


@pytest.mark.parametrize("name", ["feat-x", "a", "7", "a_b", "a__b", "a--b", "x" * LONGEST_NAME])
def test_names_that_will_do(name: str) -> None:
    assert checked_name(name) == name
    assert instance_id(name) == instance_id(f"ktrdr--{name}") == f"ktrdr--{name}"


@pytest.mark.parametrize(
    "name",
    ["", "ktrdr--", "-a", "a-", "_a", "a_-b", "a---b", "a.b", "A", "a b", "a/b", "..", "é", "a\n"],
)
def test_names_that_will_not(name: str) -> None:
    with pytest.raises(SandboxError) as caught:
        checked_name(name)
    assert caught.value.code == "usage"
    assert caught.value.hints


@given(st.text(max_size=60))
def test_what_is_accepted_is_a_project_and_an_image_path(text: str) -> None:
    try:
        identity = instance_id(text)
    except SandboxError:
        return
    assert PROJECT_NAME.fullmatch(identity)
    assert IMAGE_COMPONENT.fullmatch(identity)


@given(st.text(max_size=60))
def test_a_suggestion_is_itself_accepted(text: str) -> None:
    try:
        checked_name(text)
    except SandboxError as error:
        suggested = re.fullmatch(r"Try '(.+)'\.", error.hints[0])
        if suggested:
            assert checked_name(suggested[1])


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("ktrdr--feat-x", "ktrdr--feat-x"),
        ("ktrdr2", "ktrdr--ktrdr2"),
        ("My KTRDR (copy)", "ktrdr--my-ktrdr-copy"),
        ("...", "ktrdr--checkout"),
    ],
)
def test_an_id_for_an_existing_directory(directory: str, expected: str) -> None:
    assert derive_instance_id(Path("/dev") / directory) == expected


def test_names_for_directories_that_are_called_the_same() -> None:
    first = list(itertools.islice(alternatives("ktrdr--ktrdr"), 3))
    assert first == ["ktrdr--ktrdr", "ktrdr--ktrdr-2", "ktrdr--ktrdr-3"]


@pytest.mark.parametrize("name", ["x" * LONGEST_NAME, "x" * (LONGEST_NAME - 2) + "-y", "a_b"])
def test_every_alternative_is_allowed_and_another(name: str) -> None:
    found = list(itertools.islice(alternatives(f"ktrdr--{name}"), 120))
    assert [instance_id(one) for one in found] == found
    assert len(set(found)) == 120
