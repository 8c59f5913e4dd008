"""Reading while the program is loaded. In processes of their own: this one has threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_running
from tests.support.trees import TIME_NS, write

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are copies made"),
    pytest.mark.skipif(os.cpu_count() == 1, reason="one processor gains nothing by it"),
]

_SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from ktrdr_sandbox.shared_data import ahead
from ktrdr_sandbox.shared_data.ahead import Between, reading, take
from ktrdr_sandbox.shared_data.folders import FolderSource
from ktrdr_sandbox.shared_data.presence import Presence
root, shared, manifest = map(Path, sys.argv[1:])
between = Between(root, shared, manifest)
def source():
    return FolderSource(root, forbidden=shared, keep_owner=True)
def told(folders):
    return [[one.path, sorted(one.stamps.items()), sorted(one.files), one.links, one.mode,
             one.mtime_ns, one.owner, one.group] for one in folders]
def own():
    return told(source().folders())
def identity():
    return ahead.identity_of(manifest.stat())
"""


class Scene:
    """A source, a shared folder and a manifest, and a script between them."""

    def __init__(self, root: Path) -> None:
        self.source, self.shared, self.manifest = root / "source", root / "shared", root / "m"
        self.manifest.write_text("one state")
        for number in range(6):
            write(self.source / f"data/{number}/a.csv", "12345", time_ns=TIME_NS + number)
        write(self.source / "data/b.csv", "1")
        (self.source / "data/link").symlink_to("b.csv")
        (self.source / "data/gone").symlink_to("/nowhere at all")
        (self.source / "models").mkdir()

    def share(self, *names: str) -> None:
        for name in names:
            found = self.source / name
            write(self.shared / name, found.read_bytes(), time_ns=found.stat().st_mtime_ns)

    def argv(self, body: str) -> list[str]:
        paths = (self.source, self.shared, self.manifest)
        return [sys.executable, "-c", _SCRIPT + body, *map(str, paths)]

    def outcome(self, body: str) -> Any:
        """What the script prints, as JSON."""
        done = subprocess.run(
            self.argv(body), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_it_gives_what_reading_gives(scene: Scene) -> None:
    """Of folders that are there already and of others."""
    scene.share("data/b.csv", "data/3/a.csv")
    body = """
with reading(between):
    begun = take(between)
    one = source()
    ahead_of_it = told(begun.folders(one))
    again = source()
    print(json.dumps([ahead_of_it == told(again.folders()), len(ahead_of_it),
                      one.left_out == again.left_out, one.left_out]))
"""
    same, number, same_left_out, left_out = scene.outcome(body)
    assert same
    assert number == 8
    assert same_left_out
    assert [path for path, _, _ in left_out] == ["data/gone"]


def test_what_lies_in_the_shared_folder_is_known_without_a_look(scene: Scene) -> None:
    scene.share("data/1/a.csv", "data/2/a.csv")
    write(scene.shared / "data/2/other.csv", "1")
    body = """
with reading(between):
    begun = take(between)
    begun.manifest = identity()
    folders = {one.path: one for one in begun.folders(source())}
    begun._presence = there = Presence(begun)
    while len(there._known) < 3 or None in there._known.values():
        time.sleep(0.01)
        there.of(folders["data/5"], os.open(root, os.O_RDONLY))
    print(json.dumps([sorted(there.of(folders[f"data/{n}"], -1)) for n in (1, 2)]))
"""
    assert scene.outcome(body) == [["a.csv"], ["a.csv", "other.csv"]]


def test_it_does_not_count_when_a_run_has_ended_since(scene: Scene) -> None:
    scene.share("data/1/a.csv")
    body = """
with reading(between):
    begun = take(between)
    list(begun.folders(source()))
    begun.manifest = (0, 0, 0)
    try:
        while not begun.arrived():
            time.sleep(0.01)
        print(json.dumps("counts"))
    except ChildProcessError:
        print(json.dumps("does not"))
"""
    assert scene.outcome(body) == "does not"


def test_it_is_given_once_and_only_for_the_same(scene: Scene) -> None:
    body = """
found = [take(between) is None]
with reading(between):
    found += [take(between) is not None, take(between) is None]
with reading(between):
    found += [take(between._replace(root=shared)) is None, take(between) is None]
with reading(between):
    pass
found += [take(between) is None]
ahead.FRESH = 0.0
with reading(between):
    found += [not take(between).is_fresh]
print(json.dumps([found, len(os.listdir("/proc/self/fd")) - 1]))
"""
    found, descriptors = scene.outcome(body)
    assert found == [True] * 7
    assert descriptors == scene.outcome('print(json.dumps(len(os.listdir("/proc/self/fd")) - 1))')


def test_what_a_copy_that_was_ended_has_not_told_is_read_here(scene: Scene) -> None:
    body = """
with reading(between):
    begun = take(between)
    folders = begun.folders(source())
    first = next(folders)
    own = os.getpid()
    for pid in map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split()):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    paths = [first.path, *(one.path for one in folders)]
    print(json.dumps([sorted(paths), sorted(one.path for one in source().folders())]))
"""
    found, wanted = scene.outcome(body)
    assert found == wanted


def test_more_than_a_pipe_holds_waits_for_who_comes_late(scene: Scene) -> None:
    """And neither waits for the other, whichever side is asked for first."""
    for number in range(5000):
        write(scene.source / f"models/{number % 3}/{number:0240}", "")
    body = """
with reading(between):
    begun = take(between)
    begun.manifest = identity()
    time.sleep(1)
    there, number = Presence(begun), 0
    for folder in begun.folders(source()):
        number += len(folder.stamps)
        (shared / folder.path).mkdir(parents=True, exist_ok=True)
        assert not there.of(folder, os.open(shared / folder.path, os.O_RDONLY))
    print(json.dumps(number))
"""
    assert scene.outcome(body) == 5007


def test_when_another_run_came_between_everything_is_looked_at_again(scene: Scene) -> None:
    body = """
from ktrdr_sandbox.commands.ahead import between as between_of
from ktrdr_sandbox.commands.filling import Run
from ktrdr_sandbox.commands.sharing import Place, Wanted, init_shared
from ktrdr_sandbox.paths import Home
place = Place(Home(shared.parent / "home"), root, print)
def run():
    return init_shared(place, Wanted(source=root), observe=lambda _: None)
first = run()
(root / "data/new.csv").write_text("1")
between = between_of(place.home, root)
with reading(between):
    late = Run(place, Wanted(source=root), lambda _: None, ahead=take(between))
    looked = late.look()
    between_them = run()
    done = late.fill()
print(json.dumps([first.new, looked, between_them.new, done.new, done.unchanged, done.kept]))
"""
    assert scene.outcome(body) == [7, None, 1, 0, 9, []]  # and a link


def test_it_ends_with_its_parent(scene: Scene, tmp_path: Path) -> None:
    for number in range(5000):  # more than a pipe holds: it cannot have come to its end
        write(scene.source / f"models/{number:0240}", "")
    note = tmp_path / "pid"
    body = f"""
with reading(between):
    pid = Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text()
    Path({str(note)!r}).write_text(pid)
    time.sleep(60)
"""
    with subprocess.Popen(scene.argv(body)) as parent:
        while not note.exists() or not note.read_text().strip():
            assert parent.poll() is None
            time.sleep(0.01)
        pid = int(note.read_text())
        assert is_running(pid)
        parent.kill()
    while is_running(pid):
        time.sleep(0.01)


def test_no_more_processes_or_pipes_are_no_error(scene: Scene) -> None:
    body = """
import resource
free = os.open(os.devnull, os.O_RDONLY)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, most))
os.close(free)
with reading(between):
    print(json.dumps(take(between)))
"""
    assert scene.outcome(body) is None
