from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data.manifest import Manifest, Origin

HERE = Origin("folder", "/dev/ktrdr", {})
PACK = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"1"'})
NAMES = ["data/AAPL_1d.csv", "data/a b\nc", "data/caf\udce9", "data/schön", "data/=1", "data/:::"]


def opened(path: Path) -> Manifest:
    return Manifest(path, tell=lambda sentence: pytest.fail(sentence))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox" / "shared-manifest"


def test_what_was_added_is_there_the_next_time(path: Path) -> None:
    manifest = opened(path)
    manifest.set_origin("1", HERE)
    manifest.append((name, f"{len(name)}:17:1") for name in NAMES)
    manifest.append([("data/AAPL_1d.csv", "99:18:1")])
    manifest.set_origin("2", PACK)
    again = opened(path)
    assert again.records == {
        **{name: f"{len(name)}:17:1" for name in NAMES},
        "data/AAPL_1d.csv": "99:18:1",
    }
    assert again.origins == {"1": HERE, "2": PACK}
    assert path.stat().st_mode & 0o077 == 0


def test_numbers_of_origins(path: Path) -> None:
    manifest = opened(path)
    assert manifest.number_of(HERE) == "1"
    manifest.set_origin("1", HERE)
    assert manifest.number_of(HERE) == "1"
    assert manifest.number_of(PACK) == "2"
    manifest.set_origin("2", PACK)
    newer = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"2"'})
    assert manifest.number_of(newer) == "2", "another version of the same pack"
    other = Origin("url", "https://packs/one", {"identity": "xyz"})
    assert manifest.number_of(other) == "3", "another address that looks the same"


def test_cut_off_anywhere_it_still_holds_whole_records(path: Path) -> None:
    manifest = opened(path)
    manifest.set_origin("1", HERE)
    manifest.append((name, f"{len(name)}:17:1") for name in NAMES)
    whole = path.read_bytes()
    header = whole.index(b"1\0") + 2
    for length in range(header, len(whole), 3):
        path.write_bytes(whole[:length])
        cut = opened(path)
        expected = {name: f"{len(name)}:17:1" for name in NAMES}
        assert cut.records.items() <= expected.items(), length
        cut.append([("data/new", "1:1:1")])
        again = opened(path)
        assert again.records == {**cut.records, "data/new": "1:1:1"}, length


@pytest.mark.parametrize("content", [b"", b"\0", b"rubbish", b"{}", b"\0another program\0a\0b\0"])
def test_a_damaged_one_is_told_and_made_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    told: list[str] = []
    manifest = Manifest(path, tell=told.append)
    assert told == [f"{path} is damaged and is made anew; files that differ are kept."]
    assert manifest.records == {}
    manifest.append([("data/a", "1:2:1")])
    assert opened(path).records == {"data/a": "1:2:1"}


def test_an_origin_that_cannot_be_read_leaves_its_files_as_of_an_unknown_source(
    path: Path,
) -> None:
    manifest = opened(path)
    manifest.set_origin("1", HERE)
    manifest.append([("data/a", "1:2:1")])
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kinb"'))
    again = opened(path)
    assert again.records == {"data/a": "1:2:1"}
    assert again.origins == {}
    assert again.number_of(PACK) == "2", "nor do they become another source's"


def test_old_fields_go_in_time(path: Path) -> None:
    manifest = opened(path)
    for round_ in range(1200):
        manifest.append([("data/a", f"1:{round_}:1")])
    grown = path.stat().st_size
    manifest.compact_if_worn()
    assert path.stat().st_size < grown / 100
    assert opened(path).records == {"data/a": "1:1199:1"}
    before = path.stat().st_mtime_ns
    manifest.compact_if_worn()
    assert path.stat().st_mtime_ns == before, "nothing is worn now"


def test_a_place_that_takes_none(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(SandboxError) as caught:
        opened(blocker / "shared-manifest")
    assert caught.value.code == "cannot-write"
