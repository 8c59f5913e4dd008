from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import create_file, make_folder, replace_file
from tests.support.processes import python_process


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_and_mode_are_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "file"
    replace_file(path, "one\ntwo é\n", mode=0o600)
    assert path.read_bytes() == "one\ntwo é\n".encode()
    assert mode(path) == 0o600


def test_an_open_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, "old" * 1000, mode=0o644)
    with path.open() as reader:
        replace_file(path, "new", mode=0o644)
        assert reader.read() == "old" * 1000
    assert path.read_text() == "new"


def test_two_make_the_same_shared_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    for number in range(100):
        folder = tmp_path / str(number) / "deep"
        failures: list[Exception] = []

        def make(folder: Path = folder, failures: list[Exception] = failures) -> None:
            try:
                make_folder(folder)
            except (OSError, SandboxError) as error:
                failures.append(error)

        threads = [threading.Thread(target=make) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert (mode(folder), mode(folder.parent)) == (0o2770, 0o2770)
        assert list(folder.parent.rglob("*")) == [folder]


def test_a_world_readable_file_is_never_left_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("secret")
    path.chmod(0o644)
    replace_file(path, "secret", mode=0o600)
    assert mode(path) == 0o600


def test_a_failure_leaves_the_former_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "target"
    path.mkdir()  # a folder that is not empty cannot be replaced by a file
    (path / "kept").touch()
    with pytest.raises(SandboxError) as caught:
        replace_file(path, "text", mode=0o600)
    assert caught.value.code == "cannot-write"
    assert caught.value.details["path"] == str(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["target"]
    assert (path / "kept").exists()


def test_text_that_cannot_be_written_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "target"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\udcff", mode=0o600)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError) as caught:
        make_folder(tmp_path / "file" / "folder")
    assert caught.value.code == "cannot-write"
    assert str(tmp_path / "file" / "folder") in caught.value.message
    assert "KTRDR_HOME" in caught.value.hints[0]


def test_an_existing_folder_is_fine(tmp_path: Path) -> None:
    make_folder(tmp_path)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


_WRITER = """\
import sys
from pathlib import Path
from ktrdr_sandbox.files import replace_file
path, letter = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while True:
    replace_file(path, letter * 100_000, mode=0o600)
"""


def test_a_killed_writer_leaves_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for letter in "abc":
        replace_file(path, "-" * 100_000, mode=0o600)
        with python_process(_WRITER, str(path), letter) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            while path.read_text().startswith("-"):
                os.sched_yield()
            writer.kill()
        text = path.read_text()
        assert text == letter * 100_000


def test_a_new_file_appears_whole_and_private(tmp_path: Path) -> None:
    create_file(tmp_path / "new", b"content", mode=0o600)
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_nlink == 1
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", _refused)
    create_file(tmp_path / "new", b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "new", b"second", mode=0o600)
    assert (tmp_path / "new").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def _refused(self: Path, target: Path) -> None:
    """As a file system without second names does it."""
    raise PermissionError(1, "Operation not permitted")
