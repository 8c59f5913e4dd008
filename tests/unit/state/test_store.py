from __future__ import annotations

import json
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.state.registry import Rebuilt, Registry, RegistryStore
from tests.support.processes import python_process
from tests.unit.state.instances import an_instance


class Place:
    """A folder for a registry, and what the store told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sandbox" / "instances.json"
        self.lock = folder / "sandbox" / "instances.lock"
        self.told: list[str] = []

    def store(self, *found: Instance, remarks: tuple[str, ...] = ()) -> RegistryStore:
        """A store that finds these when its file is lost."""
        return RegistryStore(
            self.path,
            self.lock,
            rebuild=lambda text: self.asked(text, Rebuilt(instances=found, remarks=remarks)),
            tell=self.told.append,
        )

    def asked(self, text: str, answer: Rebuilt) -> Rebuilt:
        self.damaged = text
        return answer

    def holds(self, content: str | bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        self.path.write_bytes(data)

    def set_aside(self) -> list[Path]:
        return sorted(self.path.parent.glob("instances.json.damaged-*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_no_file_is_an_empty_registry_and_reading_makes_none(place: Place) -> None:
    assert place.store().read() == Registry()
    assert not place.path.parent.exists()


def test_what_is_added_is_read_by_another_store(place: Place) -> None:
    one, two = an_instance("a", slot=1), an_instance("b", slot=2)
    place.store().add(one)
    place.store().add(two)
    assert place.store().read().instances == {one.id: one, two.id: two}
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


def test_dropping_takes_only_that_very_instance(place: Place) -> None:
    store = place.store()
    store.add(an_instance())
    store.drop(an_instance(uuid="of-an-earlier-one"))
    assert "ktrdr--feat-x" in store.read().instances
    store.drop(an_instance())
    assert store.read().instances == {}
    store.drop(an_instance())


def test_a_change_that_fails_leaves_the_file(place: Place) -> None:
    place.store().add(an_instance())
    before = place.path.read_bytes()

    def fail(registry: Registry) -> tuple[Registry, None]:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        place.store().update(fail)
    assert place.path.read_bytes() == before
    place.store().add(an_instance("b", slot=3))  # and the lock is free again


def test_a_change_that_changes_nothing_writes_nothing(place: Place) -> None:
    place.store().add(an_instance())
    before = place.path.stat().st_ino
    assert place.store().update(lambda registry: (registry, "answer")) == "answer"
    assert place.path.stat().st_ino == before


def test_unknown_fields_survive_a_change(place: Place) -> None:
    place.store().add(an_instance())
    document = json.loads(place.path.read_text())
    document["note"] = "kept"
    document["instances"]["ktrdr--feat-x"]["colour"] = "red"
    place.holds(json.dumps(document))
    place.store().add(an_instance("b", slot=3))
    after = json.loads(place.path.read_text())
    assert after["note"] == "kept"
    assert after["instances"]["ktrdr--feat-x"]["colour"] == "red"


def test_a_newer_version_is_refused_and_untouched(place: Place) -> None:
    text = '{"version": 2, "instances": "in another shape"}'
    place.holds(text)
    for use in (place.store().read, lambda: place.store().add(an_instance())):
        with pytest.raises(SandboxError) as caught:
            use()
        assert caught.value.code == "registry-newer"
        assert "version 2" in caught.value.message
    assert place.path.read_text() == text
    assert not place.set_aside()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "garbage",
        '{"version": 1, "instances": {',
        "[]",
        '{"version": 1}',
        '{"version": 1, "instances": {"ktrdr--x": {"slot": 1}}}',
        '{"version": "2", "instances": {}}',
        '{"version": "1", "instances": {}}',
        '{"version": null, "instances": {}}',
        '{"version": true, "instances": {}}',
        '{"version": 1.0, "instances": {}}',
        '{"version": -1, "instances": {}}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_set_aside_rebuilt_and_told(place: Place, content: str | bytes) -> None:
    place.holds(content)
    found = an_instance("found", slot=4)
    assert place.store(found).read().instances == {found.id: found}
    (aside,) = place.set_aside()
    data = content if isinstance(content, bytes) else content.encode()
    assert aside.read_bytes() == data
    assert place.damaged == data.decode(errors="replace")
    (told,) = place.told
    assert str(place.path) in told
    assert aside.name in told
    assert "ktrdr--found (slot 4)" in told
    assert place.store().read().instances == {found.id: found}
    assert len(place.told) == 1


def test_a_change_on_a_damaged_file_is_on_what_was_rebuilt(place: Place) -> None:
    place.holds("garbage")
    found = an_instance("found", slot=4)
    place.store(found).add(an_instance("new", slot=1))
    assert set(place.store().read().instances) == {"ktrdr--found", "ktrdr--new"}


def test_a_directory_in_its_place_is_set_aside(place: Place) -> None:
    place.path.mkdir(parents=True)
    (place.path / "kept").touch()
    assert place.store().read() == Registry()
    (aside,) = place.set_aside()
    assert (aside / "kept").exists()


def test_a_file_in_the_way_of_the_folder(place: Place, tmp_path: Path) -> None:
    place.path.parent.write_text("")
    with pytest.raises(SandboxError) as caught:
        place.store().add(an_instance())
    assert caught.value.code == "cannot-write"


def test_remarks_of_the_rebuild_are_told(place: Place) -> None:
    place.holds("garbage")
    place.store(remarks=("Two claim slot 3.",)).read()
    assert place.told[-1] == "Two claim slot 3."


def test_entries_in_use_are_copied_beside(place: Place) -> None:
    one = an_instance("a", slot=1)
    place.store().add(one.with_state("creating"))
    assert place.store().copies() == []
    place.store().add(one)
    assert place.store().copies() == [one]
    copy = place.path.parent / "instances" / one.id / "instance.json"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    copy.write_text("{")
    assert place.store().copies() == []


def test_a_registry_that_is_missing_though_there_are_copies_is_rebuilt(place: Place) -> None:
    one = an_instance("a", slot=1)
    place.store().add(one)
    place.path.unlink()
    assert place.store(one).read().instances == {one.id: one}
    (told,) = place.told
    assert "was lost (it is missing)" in told
    assert not place.set_aside()


def test_the_documents_own_schema_is_taken_over(place: Place) -> None:
    """Written by another program: no version, no uuid, nothing of who made it."""
    plain = {
        "instances": {
            "ktrdr--feat-x": {
                "slot": 2,
                "path": "/code/ktrdr--feat-x",
                "created_at": "2024-01-15T10:30:00Z",
                "is_worktree": True,
                "parent_repo": "/code/ktrdr",
            }
        },
        "allocated_slots": [2],
    }
    place.holds(json.dumps(plain))
    (read,) = place.store().read().instances.values()
    assert (read.slot, read.created_by, read.state) == (2, "init", "created")
    place.store().add(an_instance("new", slot=3))
    saved = json.loads(place.path.read_text())
    assert saved["version"] == 1
    assert saved["instances"]["ktrdr--feat-x"]["uuid"] == read.uuid
    assert not place.set_aside()


# -- beside KTRDR's own later tool -----------------------------------------------------------------


def theirs(**instances: int) -> str:
    """A file as that tool writes it, with these instances in their slots."""
    entries = {
        f"ktrdr--{name}": {
            "instance_id": f"ktrdr--{name}",
            "slot": slot,
            "path": "/code/x",
            "created_at": "2026-01-15T10:30:00",
            "is_worktree": True,
            "parent_repo": None,
        }
        for name, slot in instances.items()
    }
    pool = {
        str(number): {
            "slot_id": number,
            "infrastructure_path": f"/infra/{number}",
            "profile": "light",
            "workers": {"backtest": 1},
            "ports": {"api": 8000 + number},
            "claimed_by": claimed,
            "claimed_at": None,
            "status": "stopped",
        }
        for number, claimed in ((5, None), (6, "/code/y"))
    }
    return json.dumps({"version": 2, "local_prod": None, "instances": entries, "slots": pool})


def test_a_file_of_ktrdrs_own_tool_is_left_and_ours_is_beside_it(place: Place) -> None:
    text = theirs(stage=3)
    place.holds(text)
    store = place.store()
    assert store.read().instances == {}
    assert store.read().taken_slots() == {
        3: "KTRDR's own sandbox tool (ktrdr--stage)",
        6: "KTRDR's own sandbox tool (/code/y)",
    }
    assert place.told == []
    for name, slot in (("a", 1), ("b", 2)):
        store.add(an_instance(name, slot=slot))
    assert place.path.read_text() == text
    ours = place.path.with_name("instances.ktrdr-sandbox.json")
    assert json.loads(ours.read_text())["allocated_slots"] == [1, 2]
    (told,) = place.told
    assert told == (
        f"{place.path} is of KTRDR's own sandbox tool and left as it is; this program's "
        "registry is instances.ktrdr-sandbox.json beside it."
    )
    place.path.unlink()  # ours stays where it is
    assert set(place.store().read().instances) == {"ktrdr--a", "ktrdr--b"}
    assert place.store().read().claims == {}


def test_ours_is_found_again_when_that_tool_wrote_over_it(place: Place) -> None:
    one = an_instance("a", slot=1)
    place.store().add(one)
    place.holds(theirs())
    assert place.store(one).read().instances == {one.id: one}
    assert any("was lost (it is missing)" in sentence for sentence in place.told)
    assert place.path.read_text() == theirs()
    assert not place.set_aside()


_UPDATER = """\
import sys
from pathlib import Path
from ktrdr_sandbox.state.registry import RegistryStore
from tests.unit.state.instances import an_instance
folder, number = Path(sys.argv[1]), int(sys.argv[2])
store = RegistryStore(folder / "instances.json", folder / "instances.lock", patience=100)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(10):
    store.add(an_instance(f"{number}-{turn}", slot=number))
    if turn:
        store.drop(an_instance(f"{number}-{turn - 1}", slot=number))
"""


def test_ten_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(python_process(_UPDATER, str(tmp_path), str(number)))
            for number in range(1, 11)
        ]
        for one in crowd:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in crowd:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        for one in crowd:
            _, complaints = one.communicate()
            assert one.returncode == 0, complaints
    store = RegistryStore(tmp_path / "instances.json", tmp_path / "instances.lock")
    assert set(store.read().instances) == {f"ktrdr--{number}-9" for number in range(1, 11)}
