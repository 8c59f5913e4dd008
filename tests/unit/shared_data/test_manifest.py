from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data.manifest import Manifest, Origin

HERE = Origin("folder", "/dev/ktrdr", {})
PACK = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"1"'})
NAMES = ["data/AAPL_1d.csv", "data/a b\nc", "data/caf\udce9", "data/schön", "data/=1", "data/:::"]


def claim(manifest: Manifest, number: str, origin: Origin, *names: str) -> None:
    """As a run does that is about to place these files."""
    coming = [(name, f"{len(name)}:17:{number}") for name in names]
    manifest.claim(coming, found=(), number=number, origin=origin)


def settle(manifest: Manifest, number: str, *names: str) -> None:
    """As a run does that has placed them."""
    manifest.settle([(name, f"{len(name)}:17:{number}") for name in names], claimed=names)


def opened(path: Path) -> Manifest:
    return Manifest(path, tell=lambda sentence: pytest.fail(sentence))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox" / "shared-manifest"


def test_what_was_placed_is_known_the_next_time(path: Path) -> None:
    manifest = opened(path)
    claim(manifest, "1", HERE, *NAMES)
    settle(manifest, "1", *NAMES)
    claim(manifest, "2", PACK, "data/pack")
    settle(manifest, "2", "data/pack")
    again = opened(path)
    assert again.records == {**{name: f"{len(name)}:17:1" for name in NAMES}, "data/pack": "9:17:2"}
    assert again.claims == {}
    assert again.origins == {"1": HERE, "2": PACK}
    assert path.stat().st_mode & 0o077 == 0


def test_what_a_killed_run_was_about_to_place_is_known_as_well(path: Path) -> None:
    manifest = opened(path)
    claim(manifest, "1", HERE, *NAMES)
    settle(manifest, "1", *NAMES)
    manifest.claim(
        [("data/AAPL_1d.csv", "99:18:1")], found=[("data/b", "1:1:1")], number="1", origin=HERE
    )
    again = opened(path)
    assert again.claims == {"data/AAPL_1d.csv": "99:18:1"}
    assert again.records["data/AAPL_1d.csv"] == "16:17:1"
    assert again.records["data/b"] == "1:1:1"
    again.settle([("data/AAPL_1d.csv", "99:18:1")], claimed=())
    assert opened(path).claims == {}
    assert opened(path).records["data/AAPL_1d.csv"] == "99:18:1"


def test_what_is_noted_is_written_when_it_is_settled(path: Path) -> None:
    """Until then the claims that lie on the disk tell as much."""
    manifest = opened(path)
    claim(manifest, "1", HERE, "data/a", "data/b")
    manifest.note([("data/a", "6:17:1")])
    assert manifest.claims == {}, "they are of this run, which knows what it does"
    assert set(opened(path).claims) == {"data/a", "data/b"}
    manifest.settle([], claimed=["data/a", "data/b"])
    assert opened(path).records == {"data/a": "6:17:1"}
    assert opened(path).claims == {}


def test_more_files_than_are_written_at_once(path: Path) -> None:
    names = [f"data/{number}_1d.csv" for number in range(10_000)]
    manifest = opened(path)
    claim(manifest, "1", HERE, *names)
    assert list(opened(path).claims) == names
    settle(manifest, "1", *names)
    assert opened(path).records == manifest.records
    assert list(opened(path).records) == names


def test_a_claim_that_came_to_nothing_goes(path: Path) -> None:
    manifest = opened(path)
    claim(manifest, "1", HERE, "data/a", "data/b")
    manifest.settle([("data/a", "1:1:1")], claimed=["data/a", "data/b"])
    assert opened(path).claims == {}
    assert opened(path).records == {"data/a": "1:1:1"}


def test_numbers_of_origins(path: Path) -> None:
    manifest = opened(path)
    assert manifest.number_of(HERE) == "1"
    claim(manifest, "1", HERE)
    assert manifest.number_of(HERE) == "1"
    assert manifest.number_of(PACK) == "2"
    claim(manifest, "2", PACK)
    newer = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"2"'})
    assert manifest.number_of(newer) == "2", "another version of the same pack"
    other = Origin("url", "https://packs/one", {"identity": "xyz"})
    assert manifest.number_of(other) == "3", "another address that looks the same"


def test_cut_off_anywhere_it_still_holds_whole_records(path: Path) -> None:
    manifest = opened(path)
    claim(manifest, "1", HERE, *NAMES)
    settle(manifest, "1", *NAMES)
    claim(manifest, "1", HERE, *NAMES)
    whole = path.read_bytes()
    header = whole.index(b"1\0") + 2
    expected = {name: f"{len(name)}:17:1" for name in NAMES}
    for length in range(header, len(whole), 3):
        path.write_bytes(whole[:length])
        cut = opened(path)
        assert cut.records.items() <= expected.items(), length
        assert cut.claims.items() <= expected.items(), length
        claim(cut, "1", HERE, "data/new")
        again = opened(path)
        assert again.records == cut.records, length
        assert again.claims == {**cut.claims, "data/new": "8:17:1"}, length


@pytest.mark.parametrize("content", [b"", b"\0", b"rubbish", b"{}", b"\0another program\0a\0b\0"])
def test_a_damaged_one_is_told_and_made_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    told: list[str] = []
    manifest = Manifest(path, tell=told.append)
    assert told == [f"{path} is damaged and is made anew; files that differ are kept."]
    assert manifest.records == {}
    settle(manifest, "1", "data/a")
    assert opened(path).records == {"data/a": "6:17:1"}


def test_an_origin_that_cannot_be_read_leaves_its_files_as_of_an_unknown_source(
    path: Path,
) -> None:
    manifest = opened(path)
    claim(manifest, "1", HERE, "data/a")
    settle(manifest, "1", "data/a")
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kinb"'))
    again = opened(path)
    assert again.records == {"data/a": "6:17:1"}
    assert again.origins == {}
    assert again.number_of(PACK) == "2", "nor do they become another source's"


def test_a_place_that_takes_none(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(SandboxError) as caught:
        opened(blocker / "shared-manifest")
    assert caught.value.code == "cannot-write"
