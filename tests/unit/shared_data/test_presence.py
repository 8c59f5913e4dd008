"""What lies in a shared folder, as this process sees it and as a copy of it does."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.shared_data.forks import fitting
from ktrdr_sandbox.shared_data.presence import MANY, look
from tests.support.processes import run_to_end
from tests.support.trees import TIME_NS, write


def tree(shared: Path) -> dict[str, str]:
    """A shared folder, and the records of it: of all but `other`, and `edited` has changed."""
    records = {}
    for name in ("data/a.csv", "data/edited.csv", "data/deep/er/b.csv", "models/c.bin"):
        write(shared / name, "12345", time_ns=TIME_NS)
        records[name] = f"5:{TIME_NS}:1"
    write(shared / "data/edited.csv", "12345", time_ns=TIME_NS + 1)
    write(shared / "data/other.csv", "1", time_ns=TIME_NS)
    (shared / "data/link").symlink_to("a.csv")
    return records


def test_only_what_is_as_recorded_is_without_a_mode(tmp_path: Path) -> None:
    records = tree(tmp_path)
    folder = os.open(tmp_path / "data", os.O_RDONLY)
    try:
        found = look(folder, "data", records)
    finally:
        os.close(folder)
    assert found.keys() == {"a.csv", "edited.csv", "other.csv", "link", "deep"}
    assert found["a.csv"] == (5, TIME_NS)
    regular = (tmp_path / "data/edited.csv").stat().st_mode
    assert found["edited.csv"] == (5, TIME_NS + 1, regular)
    assert found["other.csv"] == (1, TIME_NS, regular)
    assert stat.S_ISLNK(found["link"][-1])
    assert stat.S_ISDIR(found["deep"][-1])


_SCRIPT = """
import json, os, sys
from ktrdr_sandbox.shared_data import presence
shared, records = sys.argv[1], json.loads(sys.argv[2])
records |= {f"data/gone/{number}": "1:1:1" for number in range(presence.MANY)}
look = presence.look
with presence.Presence.opened(shared, records) as there:
    presence.look = lambda *_: "by itself"
    found, own = {}, {}
    for path in ("models", "data/deep/er", "data", "data/deep", "strategies"):
        folder = os.open(f"{shared}/{path}", os.O_RDONLY)
        found[path] = there.of(path, folder)
        own[path] = look(folder, path, records)
print(json.dumps([found, own]))
"""


def told(script: str, root: Path, records: Mapping[str, str]) -> tuple[Any, Any]:
    """What the script prints, in a process of its own that has no other thread."""
    argv = [sys.executable, "-c", script, str(root), json.dumps(records)]
    done = run_to_end(argv, cwd=root, environment=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    found, own = json.loads(done.stdout)
    return found, own


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are copies made")
def test_a_copy_sees_the_same_in_whatever_order_it_is_asked(tmp_path: Path) -> None:
    if not fitting() and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor gains nothing by it")
    assert MANY > 4, "a few files are not worth it"
    records = tree(tmp_path)
    (tmp_path / "strategies").mkdir()
    found, own = told(_SCRIPT, tmp_path, records)
    assert found == own
    assert found["data/deep/er"] == {"b.csv": [5, TIME_NS]}


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are copies made")
def test_what_came_after_the_copy_was_there_is_seen_all_the_same(tmp_path: Path) -> None:
    records = tree(tmp_path)
    script = _SCRIPT.replace(
        "    found, own", "    os.makedirs(f'{shared}/strategies'); found, own"
    ).replace('"strategies")', ")")
    script = script.replace("presence.look = lambda *_: ", "_ = ")
    script = script.replace("print(", "    found['new'] = there.of('new', folder)\nprint(")
    found, _ = told(script, tmp_path, records)
    assert found["new"].keys() == found["data/deep"].keys() == {"er"}
