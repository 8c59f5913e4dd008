from __future__ import annotations

from pathlib import Path

import pytest

from ktrdr_sandbox.shared.manifest import Manifest, Origin

NAMES = ["data/AAPL_1d.csv", "data/a b\nc", "data/caf\udce9", "data/schön", "data/=1", "data/:::"]
ORIGINS = {"1": Origin("folder", "/dev/ktrdr"), "2": Origin("url", "https://packs/one", "abc")}


def opened(path: Path) -> Manifest:
    return Manifest.load(path, tell=lambda sentence: pytest.fail(sentence))


def test_what_was_written_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "sandbox" / "shared-manifest"
    manifest = opened(path)
    manifest.records = {name: [[5, 17, "1"]] for name in NAMES}
    manifest.origins = dict(ORIGINS)
    manifest.write()
    assert opened(path) == manifest
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.iterdir()) == [path]
    assert manifest.number_of(Origin("url", "https://packs/one", "abc")) == "2"
    assert manifest.number_of(Origin("url", "https://packs/one", "other secrets")) == "3"


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
