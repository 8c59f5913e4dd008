"""What lies in a shared folder: as it is looked into here, and by somebody else meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktrdr_sandbox.shared_data.entries import Folder
from ktrdr_sandbox.shared_data.presence import Look, Presence, look, look_everywhere
from tests.support.trees import TIME_NS, write


def tree(shared: Path) -> None:
    for name in ("data/a.csv", "data/deep/er/b.csv", "data/deeper/c.csv", "models/d.bin"):
        write(shared / name, "12345", time_ns=TIME_NS)
    (shared / "data/link").symlink_to("a.csv")


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


class Telling:
    """Somebody else, of whom so much has arrived, and later the rest."""

    def __init__(self, *arrived: Look, later: tuple[Look, ...] = ()) -> None:
        self._arrived = list(arrived)
        self._later = list(later)

    def arrived(self) -> bool:
        return bool(self._arrived)

    def receive(self) -> Look:
        if not self._arrived and not self._later:
            raise ChildProcessError
        return (self._arrived or self._later).pop(0)


def source(path: str) -> Folder:
    folder = Folder(path, "", 0o755, 0)
    folder.stamps = {"of the source": (1, 2)}
    return folder


def test_only_regular_files_are_without_a_mode(tmp_path: Path) -> None:
    tree(tmp_path)
    with opened(tmp_path / "data") as folder:
        found = look(folder)
    assert found.keys() == {"a.csv", "link", "deep", "deeper"}
    assert found["a.csv"] == (5, TIME_NS)
    assert stat.S_ISLNK(found["link"][-1])
    assert stat.S_ISDIR(found["deep"][-1])


def test_everywhere_begins_at_the_other_end_and_tells_each_folder_twice(tmp_path: Path) -> None:
    tree(tmp_path)
    found = list(look_everywhere(str(tmp_path)))
    announced = [path for path, listing in found if listing is None]
    assert announced == ["models", "data", "data/deeper", "data/deep", "data/deep/er"]
    assert [path for path, _ in found[1::2]] == [path for path, _ in found[::2]] == announced
    assert dict(found)["data/deep/er"] == {"b.csv": (5, TIME_NS)}


def test_what_cannot_be_read_to_its_end_is_told_as_such(tmp_path: Path) -> None:
    tree(tmp_path)
    looks = look_everywhere(str(tmp_path))
    assert next(looks) == ("models", None)
    taken = next(fd for fd in range(3, 100) if leads_to(fd, tmp_path / "models"))
    with opened(tmp_path / "models/d.bin") as no_folder:
        os.dup2(no_folder, taken)
    assert next(looks) == ("models", False)


def leads_to(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def test_alone_it_looks_by_itself(tmp_path: Path) -> None:
    tree(tmp_path)
    with opened(tmp_path / "models") as folder:
        assert Presence().of(source("models"), folder) == {"d.bin": (5, TIME_NS)}


def test_what_others_have_seen_is_not_looked_at_again(tmp_path: Path) -> None:
    others = Telling(("models", None), ("models", {"x": (1, 1)}), ("data", None), ("data", True))
    there = Presence(others)
    assert there.of(source("models"), -1) == {"x": (1, 1)}
    assert there.of(source("data"), -1) == {"of the source": (1, 2)}


def test_what_others_are_at_is_waited_for(tmp_path: Path) -> None:
    others = Telling(("models", None), later=(("models", {"x": (1, 1)}), ("data", None)))
    assert Presence(others).of(source("models"), -1) == {"x": (1, 1)}


def test_what_others_have_not_come_to_is_looked_at_here(tmp_path: Path) -> None:
    tree(tmp_path)
    others = Telling(("data", None), later=(("data", {"x": (1, 1)}),))
    there = Presence(others)
    with opened(tmp_path / "models") as folder:
        assert there.of(source("models"), folder) == {"d.bin": (5, TIME_NS)}
    assert there.of(source("data"), -1) == {"x": (1, 1)}


def test_what_others_could_not_read_or_never_came_to_is_looked_at_here(tmp_path: Path) -> None:
    tree(tmp_path)
    for others in (
        Telling(("models", None), ("models", False)),
        Telling(("models", None)),  # ended in the middle of it
    ):
        with opened(tmp_path / "models") as folder:
            assert Presence(others).of(source("models"), folder) == {"d.bin": (5, TIME_NS)}
