"""Files appear whole, over nothing that was not meant; with and without unnamed files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.shared_data import placing
from ktrdr_sandbox.shared_data.placing import (
    NameTakenError,
    Staging,
    UnusableNameError,
    remove_staging,
)
from tests.support.trees import files_of, link_text


@pytest.fixture(params=["unnamed", "named"])
def staging(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Staging]:
    """A staging folder, as on Linux and as on systems that need a name from the start."""
    if request.param == "named":
        monkeypatch.setattr(placing, "_UNNAMED", None)
    with Staging.opened(tmp_path) as made:
        yield made


@contextmanager
def folder(path: Path) -> Iterator[int]:
    path.mkdir(exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_a_draft_is_nowhere_until_it_is_placed(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        draft = staging.draft(data, 0o640, named=False)
        os.write(draft.fd, b"half")
        assert list((tmp_path / "data").iterdir()) == []
        os.write(draft.fd, b" and half")
        draft.place("x.csv")
        draft.close()
    assert files_of(tmp_path) == {"data/x.csv": b"half and half"}
    info = (tmp_path / "data/x.csv").stat()
    assert (info.st_mode & 0o777, info.st_nlink) == (0o640, 1)


def test_a_draft_that_is_not_placed_leaves_nothing(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        for named in (False, True):
            draft = staging.draft(data, 0o644, named=named)
            os.write(draft.fd, b"half")
            draft.close()
    assert files_of(tmp_path) == {}


def test_a_name_that_was_taken_meanwhile_is_left_alone(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        draft = staging.draft(data, 0o644, named=False)
        (tmp_path / "data/x.csv").write_text("quicker")
        with pytest.raises(NameTakenError):
            draft.place("x.csv")
        draft.close()
    assert files_of(tmp_path) == {"data/x.csv": b"quicker"}


def test_replacing(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        path = tmp_path / "data/x.csv"
        path.write_text("old")
        reader = path.open()
        draft = staging.draft(data, 0o644, named=True)
        os.write(draft.fd, b"new one")
        assert path.read_text() == "old"
        draft.place_over("x.csv", path.lstat())
        draft.close()
        with reader:
            assert reader.read() == "old"
    assert files_of(tmp_path) == {"data/x.csv": b"new one"}


def test_what_changed_meanwhile_is_not_replaced(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        path = tmp_path / "data/x.csv"
        path.write_text("old")
        before = path.lstat()
        draft = staging.draft(data, 0o644, named=True)
        path.write_text("edited")
        with pytest.raises(NameTakenError):
            draft.place_over("x.csv", before)
        draft.close()
    assert files_of(tmp_path) == {"data/x.csv": b"edited"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_permissions_are_those_asked_for_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    before = os.umask(umask)
    try:
        with Staging.opened(tmp_path) as made, folder(tmp_path / "data") as data:
            for number, mode in enumerate((0o600, 0o644, 0o666, 0o755)):
                draft = made.draft(data, mode, named=bool(number % 2))
                draft.place(f"{mode:o}")
                draft.close()
    finally:
        os.umask(before)
    for path in (tmp_path / "data").iterdir():
        assert f"{path.stat().st_mode & 0o777:o}" == path.name


def test_a_name_that_the_file_system_does_not_take(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        draft = staging.draft(data, 0o644, named=False)
        with pytest.raises(UnusableNameError):
            draft.place("x" * 300)
        draft.close()


def test_links(staging: Staging, tmp_path: Path) -> None:
    with folder(tmp_path / "data") as data:
        (tmp_path / "data/latest").symlink_to("v1")
        staging.link_over("v2", "latest", data)
    assert link_text(tmp_path / "data/latest") == "v2"


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    left = tmp_path / ".init-shared"
    (left / "deep").mkdir(parents=True)
    (left / "3.part").write_text("half")
    with Staging.opened(tmp_path):
        assert list(left.iterdir()) == []
    assert not left.exists()
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    left.symlink_to(outside)
    remove_staging(tmp_path)
    assert not left.is_symlink()
    assert (outside / "kept").is_dir()


def test_a_place_that_takes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError) as caught, Staging.opened(tmp_path / "file"):
        pytest.fail("opened below a file")
    assert caught.value.code == "cannot-write"
