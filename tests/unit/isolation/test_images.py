from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_sandbox.isolation.images import full_reference, own_image
from tests.unit.isolation.requests import an_instance, isolated, plain

BUILD = {"context": "/dev/code/ktrdr--feat-x", "dockerfile": "Dockerfile"}
OWN = "ktrdr--feat-x/app:dev"


def service(services: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = plain(isolated(services, **changes).override["services"][name])
    del body["labels"], body["environment"]
    return body


def test_a_built_image_gets_a_tag_of_the_instances_own() -> None:
    found = service({"app": {"build": BUILD, "image": "app:dev"}}, "app")
    assert found == {"image": OWN, "pull_policy": "never"}


def test_a_build_without_a_tag_gets_one_of_the_instances_own() -> None:
    isolation = isolated({"app": {"build": BUILD}})
    assert service({"app": {"build": BUILD}}, "app") == {
        "image": "ktrdr--feat-x/app",
        "pull_policy": "never",
    }
    assert isolation.stack.service("app").image == "ktrdr--feat-x/app"
    assert isolation.stack.service("app").builds
    assert isolation.seeds == {}


def test_instances_and_services_of_like_names_share_no_image() -> None:
    services = {"web": {"build": BUILD}, "test-web": {"build": BUILD}}
    one, two = (
        {body.image for body in isolated(services, an_instance(name=name)).stack.services}
        for name in ("feat", "feat-test")
    )
    assert len(one) == len(two) == 2
    assert not one & two


def test_a_build_without_a_tag_meets_no_other_image_of_the_file() -> None:
    services = {"api": {"build": BUILD, "image": "web"}, "web": {"build": BUILD}}
    stack = isolated(services).stack
    assert stack.service("api").image == "ktrdr--feat-x/web"
    assert stack.service("web").image == "ktrdr--feat-x/ktrdr--feat-x-web"


@pytest.mark.parametrize("spelling", ["app", "app:latest", "docker.io/library/app"])
def test_users_of_an_image_are_found_in_every_spelling(spelling: str) -> None:
    services = {"builder": {"build": BUILD, "image": "app"}, "user": {"image": spelling}}
    assert service(services, "user")["image"] == "ktrdr--feat-x/app"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("always", {"pull_policy": "never"}),
        ("missing", {"pull_policy": "never"}),
        ("daily", {"pull_policy": "never"}),
        ("never", {}),
        ("build", {}),
    ],
)
def test_nothing_is_pulled_that_only_a_build_can_give(
    policy: str, expected: dict[str, str]
) -> None:
    services = {"app": {"build": BUILD, "image": "app:dev", "pull_policy": policy}}
    assert service(services, "app") == {"image": OWN, **expected}


def with_arguments(arguments: dict[str, str | None] | list[str]) -> dict[str, Any]:
    services = {
        "base": {"build": BUILD, "image": "shop/base:dev"},
        "plain": {"build": BUILD, "image": "base"},
        "app": {"build": {**BUILD, "args": arguments}, "image": "app:dev"},
    }
    found: dict[str, Any] = service(services, "app").get("build", {}).get("args", {})
    return found


def test_arguments_that_name_a_built_image_follow() -> None:
    own = "ktrdr--feat-x/shop/base:dev"
    assert with_arguments({"BASE": "shop/base:dev", "VERSION": "1", "PASSED": None}) == {
        "BASE": own
    }
    assert with_arguments(["BASE=docker.io/shop/base:dev"]) == {"BASE": own}


@pytest.mark.parametrize("argument", ["BASE_IMAGE", "base", "BUILD_FROM"])
def test_a_word_is_an_image_where_the_arguments_name_says_so(argument: str) -> None:
    assert with_arguments({argument: "base"}) == {argument: "ktrdr--feat-x/base"}


@pytest.mark.parametrize("arguments", [{"FOLDER": "base"}, {"BASE": "shop/base"}, {"BASE": ""}])
def test_other_arguments_stay(arguments: dict[str, str | None]) -> None:
    assert with_arguments(arguments) == {}


def test_an_existing_image_is_the_start() -> None:
    services = {
        "one": {"build": BUILD, "image": "app:dev"},
        "two": {"build": BUILD, "image": "app:dev"},
        "new": {"build": BUILD, "image": "new"},
    }
    isolation = isolated(services, images=frozenset({"app:dev", "alpine:3"}))
    assert isolation.seeds == {OWN: "app:dev"}


PROFILED = {
    "app": {"image": "ghcr.io/org/app:1"},
    "builder": {"image": "ghcr.io/org/app:1", "build": BUILD, "profiles": ["build"]},
}
PROFILED_OWN = "ktrdr--feat-x/ghcr.io/org/app:1"


def test_with_its_profile_a_builder_is_followed() -> None:
    active, images = frozenset(PROFILED), frozenset({"ghcr.io/org/app:1"})
    found = service(PROFILED, "app", active=active, images=images)
    assert found == {"image": PROFILED_OWN, "pull_policy": "never"}
    seeds = isolated(PROFILED, active=active, images=images).seeds
    assert seeds == {PROFILED_OWN: "ghcr.io/org/app:1"}


def test_all_tags_that_builds_write_are_known_for_their_removal() -> None:
    services = {
        "app": {"build": {**BUILD, "tags": ["app:1"]}, "image": "app"},
        "web": {"build": BUILD},
        "other": {"image": "nginx"},
    }
    assert isolated(services).images == (
        "ktrdr--feat-x/app:1",
        "ktrdr--feat-x/app:latest",
        "ktrdr--feat-x/web:latest",
    )


@pytest.mark.parametrize(
    ("reference", "own"),
    [
        ("app", "x/app"),
        ("app:1.0", "x/app:1.0"),
        ("team/app:1.0", "x/team/app:1.0"),
        ("localhost:5000/app", "x/localhost__5000/app"),
        ("localhost:5000/team/app:1", "x/localhost__5000/team/app:1"),
        ("app:1@sha256:00ff", "x/app:1"),
        ("x/app:1", "x/app:1"),
    ],
)
def test_own_references(reference: str, own: str) -> None:
    assert own_image(reference, "x") == own


REFERENCE = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:\w[\w.-]{0,127})?"
)
"""The grammar of https://pkg.go.dev/github.com/distribution/reference, without a registry."""


@given(
    instance=st.from_regex(r"ktrdr--[a-z0-9_-]{1,20}", fullmatch=True),
    reference=st.from_regex(
        r"([a-z0-9.-]{1,10}(:[0-9]{1,5})?/)?[a-z0-9]{1,5}(/[a-z0-9]{1,5})?(:[a-z0-9][a-z0-9.]{0,4})?",
        fullmatch=True,
    ),
)
def test_own_references_are_references(instance: str, reference: str) -> None:
    assert REFERENCE.fullmatch(own_image(reference, instance))


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1", "nginx:1"),
        ("docker.io/library/nginx", "nginx:latest"),
        ("localhost:5000/nginx", "localhost:5000/nginx:latest"),
        ("nginx@sha256:00", "nginx@sha256:00"),
    ],
)
def test_full_references(reference: str, full: str) -> None:
    assert full_reference(reference) == full
