"""--link: the folders are used where they lie."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.trees import checkout, files_of, snapshot, write
from tests.unit.shared.runs import Sharing


def test_the_folders_become_links_and_nothing_is_copied(sharing: Sharing, source: Path) -> None:
    done = sharing.run(source, link=True)
    kinds = ("data", "models", "strategies")
    assert done.linked == {kind: str(source / kind) for kind in kinds}
    for kind in kinds:
        assert (sharing.shared / kind).is_symlink()
        assert os.path.realpath(sharing.shared / kind) == str(source / kind)
    assert (sharing.shared / "data/AAPL_1d.csv").is_file()
    assert done.shared is not None


def test_an_empty_folder_and_another_link_give_way(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    (sharing.shared / "models").mkdir(parents=True)
    (sharing.shared / "data").symlink_to(tmp_path)
    other = checkout(tmp_path / "other")
    for root in (source, other):
        sharing.run(root, link=True)
        assert os.path.realpath(sharing.shared / "models") == str(root / "models")


def test_a_folder_that_holds_something_is_never_hidden(sharing: Sharing, source: Path) -> None:
    write(sharing.shared / "strategies/own.yaml", "name: own\n")
    before = snapshot(sharing.shared)
    error = sharing.refused(source, link=True)
    assert error.code == "would-lose-work"
    assert error.details == {"path": str(sharing.shared / "strategies")}
    assert snapshot(sharing.shared) == before, "the others are not linked either"


def test_copying_never_writes_through_such_a_link(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    sharing.run(source, link=True)
    before = files_of(source)
    other = checkout(tmp_path / "other")
    write(other / "data/NEW_1d.csv", "new\n")
    for run in (
        {"source": other},
        {"source": other, "overwrite": True},
        {"minimal": True},
        {"source": other, "dry_run": True},
    ):
        error = sharing.refused(**run)
        assert error.code == "shared-folder-linked"
        assert error.hints == (
            f"To have a copy instead, remove the link first: rm {sharing.shared}/data",
        )
    assert files_of(source) == before
    assert sharing.refused(source).code == "usage", "it is the same folder"
