from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.models import EngineAddress
from ktrdr_sandbox.state.registry import MalformedRegistryError, Registry, dump, load
from tests.unit.state.instances import an_instance


def document(**changes: Any) -> dict[str, Any]:
    """A registry of one instance, with fields of the entry changed; None takes one out."""
    made = dump(Registry().with_instance(an_instance()))
    entry = made["instances"]["ktrdr--feat-x"] | changes
    made["instances"]["ktrdr--feat-x"] = {k: v for k, v in entry.items() if v is not None}
    return dict(json.loads(json.dumps(made)))


def test_the_file_is_the_documents_schema_and_what_this_program_adds() -> None:
    assert dump(Registry().with_instance(an_instance())) == {
        "version": 1,
        "instances": {
            "ktrdr--feat-x": {
                "slot": 2,
                "path": "/code/ktrdr--feat-x",
                "created_at": "2026-01-15T10:30:00Z",
                "is_worktree": True,
                "parent_repo": "/code/ktrdr",
                "uuid": "uuid-of-feat-x",
                "state": "created",
                "created_by": "create",
                "engine": {},
            }
        },
        "allocated_slots": [2],
    }


def test_everything_comes_back() -> None:
    plain = an_instance("a", slot=1)
    other = replace(
        an_instance("b", slot=10),
        is_worktree=False,
        parent_repo=None,
        state="removing",
        created_by="init",
        path=Path("/code/with space/é"),
        engine=EngineAddress(host="tcp://h:2376", tls_verify=True, cert_path="/certs"),
    )
    third = replace(an_instance("c", slot=3), engine=EngineAddress(context="colima"))
    before = Registry().with_instance(plain).with_instance(other).with_instance(third)
    assert load(json.loads(json.dumps(dump(before)))) == before


def test_unknown_fields_are_kept_at_both_levels() -> None:
    given = document(colour="red") | {"written_by": {"version": "9"}}
    after = dump(load(given).with_instance(an_instance("other", slot=3)))
    assert after["written_by"] == {"version": "9"}
    assert after["instances"]["ktrdr--feat-x"]["colour"] == "red"
    assert "colour" not in after["instances"]["ktrdr--other"]


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": None},
        {"slot": 0},
        {"slot": 11},
        {"slot": "2"},
        {"slot": True},
        {"path": ""},
        {"path": 1},
        {"uuid": None},
        {"created_at": None},
        {"state": "perhaps"},
        {"created_by": None},
        {"engine": "colima"},
        {"engine": {"context": 1}},
    ],
)
def test_an_entry_that_cannot_be(changes: dict[str, Any]) -> None:
    """As the architecture document's own entries cannot, which have no uuid."""
    with pytest.raises(MalformedRegistryError, match="ktrdr--feat-x.*" + next(iter(changes))):
        load(document(**changes))


@pytest.mark.parametrize(
    "given", [None, [], "text", {}, {"instances": []}, {"instances": {"ktrdr--x": 1}}]
)
def test_what_is_no_registry_at_all(given: Any) -> None:
    with pytest.raises(MalformedRegistryError):
        load(given)


def test_an_entry_under_a_name_that_cannot_be() -> None:
    """The id becomes a path and a project name, so it must be one."""
    for key in ("../../etc", "ktrdr--", "ktrdr--A", "feat-x"):
        given = document()
        given["instances"][key] = given["instances"].pop("ktrdr--feat-x")
        with pytest.raises(MalformedRegistryError, match="cannot be an instance"):
            load(given)
