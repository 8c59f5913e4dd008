from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared.manifest import Manifest, Origin

HERE = Origin("folder", "/dev/ktrdr", {})
PACK = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"1"'})
NAMES = ["data/AAPL_1d.csv", "data/a b\nc", "data/caf\udce9", "data/schön", "data/=1", "data/:::"]
RECORDS = {name: f"{len(name)}:17:1" for name in NAMES}


def opened(path: Path) -> Manifest:
    return Manifest(path, tell=lambda sentence: pytest.fail(sentence))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    manifest = opened(tmp_path / "sandbox" / "shared-manifest")
    manifest.records, manifest.claims = dict(RECORDS), {"data/coming": "1:2:2"}
    manifest.origins = {"1": HERE, "2": PACK}
    manifest.write()
    return tmp_path / "sandbox" / "shared-manifest"


def test_what_was_written_is_known_the_next_time(path: Path) -> None:
    again = opened(path)
    assert (again.records, again.claims) == (RECORDS, {"data/coming": "1:2:2"})
    assert again.origins == {"1": HERE, "2": PACK}
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]


def test_numbers_of_origins(path: Path) -> None:
    manifest = opened(path)
    newer = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"2"'})
    other = Origin("url", "https://packs/one", {"identity": "xyz"})
    assert manifest.number_of(HERE) == "1"
    assert manifest.number_of(newer) == "2", "another version of the same pack"
    assert manifest.number_of(other) == "3", "another address that looks the same"


def test_cut_off_anywhere_it_still_holds_whole_records(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(whole.index(b"1\0") + 2, len(whole), 3):
        path.write_bytes(whole[:length])
        assert opened(path).records.items() <= RECORDS.items(), length


@pytest.mark.parametrize("content", [b"", b"\0", b"rubbish", b"{}", b"\0another program\0a\0b\0"])
def test_a_damaged_one_is_told_and_made_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    told: list[str] = []
    manifest = Manifest(path, tell=told.append)
    assert told == [f"{path} is damaged and is made anew; files that differ are kept."]
    assert manifest.records == {}
    manifest.write()
    assert opened(path).records == {}


def test_an_origin_that_cannot_be_read_leaves_its_files_as_of_an_unknown_source(
    path: Path,
) -> None:
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kinb"'))
    again = opened(path)
    assert (again.records, again.origins) == (RECORDS, {})
    assert again.number_of(PACK) == "2", "nor do they become another source's"


def test_a_place_that_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError) as caught:
        opened(tmp_path / "file" / "shared-manifest")
    assert caught.value.code == "cannot-write"
