from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared.manifest import Manifest, Origin

HERE = Origin("folder", "/dev/ktrdr", {})
PACK = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"1"'})
NAMES = ["data/AAPL_1d.csv", "data/a b\nc", "data/caf\udce9", "data/schön", "data/=1", "data/:::"]


def opened(path: Path) -> Manifest:
    return Manifest.load(path, tell=lambda sentence: pytest.fail(sentence))


def test_what_was_written_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "sandbox" / "shared-manifest"
    manifest = opened(path)
    manifest.records, manifest.claims = dict.fromkeys(NAMES, "5:17:1"), {"data/coming": "1:2:2"}
    manifest.origins = {"1": HERE, "2": PACK}
    manifest.write()
    assert opened(path) == manifest
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]


def test_numbers_of_origins(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, origins={"1": HERE, "2": PACK})
    newer = Origin("url", "https://packs/one", {"identity": "abc", "etag": '"2"'})
    other = Origin("url", "https://packs/one", {"identity": "xyz"})
    assert manifest.number_of(HERE) == "1"
    assert manifest.number_of(newer) == "2", "another version of the same pack"
    assert manifest.number_of(other) == "3", "another address that looks the same"


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"rubbish", b"{}", b"[]", b'{"schema": "another"}']
)
def test_a_damaged_one_is_told_and_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shared-manifest"
    path.write_bytes(content)
    told: list[str] = []
    manifest = Manifest.load(path, tell=told.append)
    assert told == [f"{path} is damaged and is made anew; files that differ are kept."]
    manifest.write()
    assert opened(path) == Manifest(path)


def test_a_place_that_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError) as caught:
        opened(tmp_path / "file" / "shared-manifest")
    assert caught.value.code == "cannot-write"
