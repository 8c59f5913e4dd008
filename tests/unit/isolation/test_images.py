from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_sandbox.isolation.document import plain
from ktrdr_sandbox.isolation.result import ImageSeed
from ktrdr_sandbox.isolation.scope import full_reference, own_image
from tests.unit.isolation.requests import isolated

BUILD = {"context": "/dev/code/ktrdr--feat-x", "dockerfile": "Dockerfile"}
OWN = "ktrdr--feat-x/app:dev"


def service(services: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = plain(isolated(services, **changes).override["services"][name])
    del body["labels"], body["environment"]
    return body


def test_a_built_image_gets_a_tag_of_the_instances_own() -> None:
    found = service({"app": {"build": BUILD, "image": "app:dev"}}, "app")

    assert found == {"image": OWN, "pull_policy": "never"}


def test_an_image_that_nobody_builds_stays() -> None:
    assert service({"app": {"image": "nginx"}}, "app") == {}


def test_a_build_without_a_tag_has_composes_own_name_for_it() -> None:
    isolation = isolated({"app": {"build": BUILD}})

    assert "image" not in isolation.override["services"]["app"]
    assert isolation.stack.service("app").image == "ktrdr--feat-x-app"
    assert isolation.stack.service("app").builds


def test_services_of_one_tag_keep_one_tag() -> None:
    services = {
        "one": {"build": BUILD, "image": "app:dev"},
        "two": {"build": BUILD, "image": "app:dev"},
        "user": {"image": "app:dev"},
    }

    stack = isolated(services).stack

    assert {service.image for service in stack.services} == {OWN}
    assert service(services, "user") == {"image": OWN, "pull_policy": "never"}


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


def test_all_tags_of_a_build_become_the_instances_own() -> None:
    build = {**BUILD, "tags": ["app:1", "example.com/app:1"]}

    assert service({"app": {"build": build}}, "app")["build"] == {
        "tags": {"!override": ["ktrdr--feat-x/app:1", "ktrdr--feat-x/example.com/app:1"]}
    }


def test_a_context_that_is_a_built_image_follows() -> None:
    contexts = {
        "base": "docker-image://app:dev",
        "other": "docker-image://alpine",
        "s": "service:x",
    }
    services = {
        "app": {"build": BUILD, "image": "app:dev"},
        "web": {"build": {**BUILD, "additional_contexts": contexts}},
    }

    assert service(services, "web")["build"] == {
        "additional_contexts": {"base": f"docker-image://{OWN}"}
    }


def test_a_cache_that_all_would_write_is_dropped() -> None:
    build = {**BUILD, "cache_to": ["type=local,dest=/c"], "cache_from": ["x"]}

    assert service({"app": {"build": build}}, "app")["build"] == {"cache_to": {"!reset": None}}


def test_an_existing_image_is_the_start() -> None:
    services = {
        "one": {"build": BUILD, "image": "app:dev"},
        "two": {"build": BUILD, "image": "app:dev"},
        "new": {"build": BUILD, "image": "new"},
    }

    isolation = isolated(services, images=frozenset({"app:dev", "alpine:3"}))

    assert isolation.seeds == (ImageSeed(base="app:dev", target=OWN),)


def test_seeds_carry_full_references() -> None:
    isolation = isolated(
        {"app": {"build": BUILD, "image": "docker.io/team/app"}},
        images=frozenset({"team/app:latest"}),
    )

    [seed] = isolation.seeds
    assert seed.base == "team/app:latest"
    assert seed.target == "ktrdr--feat-x/docker.io/team/app:latest"


def test_what_is_there_already_needs_no_seed() -> None:
    isolation = isolated(
        {"app": {"build": BUILD, "image": "app:dev"}}, images=frozenset({"app:dev", OWN})
    )

    assert isolation.seeds == ()


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


@given(
    one=st.from_regex(r"ktrdr--[a-z0-9_-]{1,6}", fullmatch=True),
    two=st.from_regex(r"ktrdr--[a-z0-9_-]{1,6}", fullmatch=True),
)
def test_two_instances_never_have_one_reference(one: str, two: str) -> None:
    assert (own_image("app:dev", one) == own_image("app:dev", two)) == (one == two)


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
