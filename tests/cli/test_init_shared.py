"""init-shared as people and scripts run it: whole outputs, exit statuses, faults of the machine."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ktrdr_sandbox.paths import pack_folder
from tests.support.http_server import closed_port
from tests.support.pack_server import Fault, PackServer, serving
from tests.support.packs import file, pack, tar, written
from tests.support.processes import heeding_hangups
from tests.support.terminal import terminal
from tests.support.trees import checkout, files_of, kinds_of, snapshot, write
from tests.support.world import Outcome, World

LATER = 1_800_000_000 * 10**9


@pytest.fixture
def source(world: World) -> Path:
    return checkout(world.folder / "other" / "ktrdr")


@pytest.fixture
def shared(world: World) -> Path:
    return world.home / "shared"


def timeless(text: str) -> str:
    """Text without how long it took."""
    return re.sub(r" in \d+\.\d s", " in <seconds> s", text)


# -- what it prints -------------------------------------------------------------------------------


def test_from_a_checkout(world: World, source: Path, shared: Path) -> None:
    outcome = world.run("init-shared", "--from", str(source))
    assert outcome.exit_code == 0, outcome
    assert outcome.err == ""
    assert timeless(outcome.out) == (
        "Copied 4 files (11.5 kB), 2 folders from <world>/other/ktrdr in <seconds> s.\n"
        "Shared folder <world>/home/shared: 2 symbols (1h, 1d), 1 model, 1 strategy, 11.5 kB, "
        "newest 2023-11-14\n"
    )
    assert kinds_of(shared) == kinds_of(source)


def test_a_second_run(world: World, source: Path) -> None:
    world.run("init-shared", "--from", str(source))
    outcome = world.run("init-shared", "--from", str(source))
    assert outcome.out == "Nothing to copy from <world>/other/ktrdr: 4 files were there already.\n"
    write(source / "data/AAPL_1d.csv", "changed\n", time_ns=LATER)
    outcome = world.run("init-shared", "--from", str(source))
    assert timeless(outcome.out).splitlines()[0] == (
        "Copied 1 file (8 B, 1 of them anew) from <world>/other/ktrdr in <seconds> s; "
        "3 files were there already."
    )


def test_what_was_changed_here_is_listed(world: World, source: Path, shared: Path) -> None:
    world.run("init-shared", "--from", str(source))
    write(shared / "data/AAPL_1d.csv", "edited\n", time_ns=LATER)
    write(source / "data/new\nline\x1b[31m.csv", "x")
    os.mkfifo(source / "data/pipe")
    outcome = world.run("init-shared", "--from", str(source))
    assert outcome.exit_code == 0, outcome
    assert timeless(outcome.out).splitlines()[1:5] == [
        "1 file of the shared folder kept:",
        "  data/AAPL_1d.csv  (changed in the shared folder)",
        "To take the source's instead: --overwrite",
        "Not copied:",
    ]
    assert outcome.out.splitlines()[5] == "  data/pipe  is a named pipe"
    assert world.run("init-shared", "--from", str(source), "--overwrite").exit_code == 0
    assert (shared / "data/AAPL_1d.csv").read_bytes() == (source / "data/AAPL_1d.csv").read_bytes()


def test_a_long_list_is_cut_short(world: World, source: Path, shared: Path) -> None:
    for number in range(14):
        write(source / f"data/S{number:02}_1d.csv", "theirs")
        write(shared / f"data/S{number:02}_1d.csv", "our own")
    outcome = world.run("init-shared", "--from", str(source))
    lines = outcome.out.splitlines()
    assert "14 files of the shared folder kept:" in lines
    assert "  ... and 4 more (--json lists them)" in lines
    assert len(world.run("init-shared", "--from", str(source), "--json").data["kept"]) == 14


def test_as_json(world: World, source: Path, shared: Path) -> None:
    data = world.run("init-shared", "--from", str(source), "--json").data
    assert data.pop("seconds") > 0
    held = data.pop("shared")
    assert data == {
        "source": str(source),
        "destination": str(shared),
        "dry_run": False,
        "copied": {
            "files": 4,
            "new": 4,
            "replaced": 0,
            "bytes": sum(len(content) for content in files_of(shared).values()),
            "links": 0,
            "folders": 2,
        },
        "unchanged": 0,
        "kept": [],
        "left_out": [],
        "linked": {},
        "ignored": 0,
        "sha256": None,
    }
    assert held["symbols"] == {"AAPL": ["1d"], "EURUSD": ["1h"]}
    assert (held["models"], held["strategies"]) == (["momentum"], ["momentum.yaml"])
    again = world.run("init-shared", "--from", str(source), "--json").data
    assert (again["unchanged"], again["shared"]) == (4, None)


def test_minimal_and_status(world: World, slot: int) -> None:
    world.run("create", "feat-x", "--slot", str(slot))
    outcome = world.run("init-shared", "--minimal")
    assert outcome.exit_code == 0, outcome
    assert timeless(outcome.out) == (
        "Copied 7 files (252 kB) from seed pack in <seconds> s.\n"
        "Shared folder <world>/home/shared: 3 symbols (1h, 1d), 0 models, 1 strategy, 252 kB, "
        "newest 2026-01-01\n"
    )


def test_a_dry_run(world: World, source: Path, shared: Path) -> None:
    outcome = world.run("init-shared", "--from", str(source), "--dry-run")
    assert outcome.out == ("Would copy 4 files (11.5 kB), 5 folders from <world>/other/ktrdr.\n")
    assert not shared.exists()


def test_links(world: World, source: Path, shared: Path) -> None:
    outcome = world.run("init-shared", "--from", str(source), "--link")
    assert outcome.out.splitlines()[0] == (
        "Linked data -> <world>/other/ktrdr/data, models -> <world>/other/ktrdr/models, "
        "strategies -> <world>/other/ktrdr/strategies"
    )
    refused = world.run("init-shared", "--minimal")
    assert refused.exit_code == 1, refused
    assert refused.err == (
        "error: <world>/home/shared/data is a link to <world>/other/ktrdr/data, and copying would "
        "write there.\n"
        "hint: To have a copy instead, remove the link first: rm <world>/home/shared/data\n"
    )


def test_an_archive(world: World, shared: Path) -> None:
    content = pack({"ktrdr/data/AAPL_1d.csv": "x", "ktrdr/README.md": "y"})
    digest = hashlib.sha256(content).hexdigest()
    path = written(world.folder, content)
    outcome = world.run("init-shared", "--from", str(path), "--sha256", digest)
    assert timeless(outcome.out).splitlines()[:3] == [
        "Copied 1 file (1 B) from <world>/pack.tar.gz in <seconds> s.",
        "1 file beside the shared folders were ignored.",
        f"SHA-256 of the pack: {digest}",
    ]
    assert files_of(shared) == {"data/AAPL_1d.csv": b"x"}


def test_a_relative_path_is_of_the_current_directory(world: World, source: Path) -> None:
    assert world.run("init-shared", "--from", "ktrdr", cwd=source.parent).exit_code == 0
    assert world.run("init-shared", "--from", ".", cwd=source).exit_code == 0


def test_nothing_is_shared_without_being_asked(world: World, shared: Path) -> None:
    outcome = world.run("init-shared")
    assert outcome.exit_code == 64, outcome
    assert outcome.err == (
        "error: Say what to fill the shared folder with: one of --from, --minimal and --url.\n"
        "hint: The seed pack that comes with the program: --minimal\n"
    )
    assert not shared.exists()


# -- exit statuses --------------------------------------------------------------------------------


def refused(world: World, *arguments: str) -> tuple[int, str]:
    outcome = world.run("init-shared", *arguments, "--json")
    return outcome.exit_code, outcome.error["code"]


def test_each_failure_has_its_status(world: World, source: Path, shared: Path) -> None:
    cut = str(written(world.folder, pack()[:-20], "cut.tar.gz"))
    evil = str(written(world.folder, tar([file("../x")]), "evil.tar"))
    page = str(written(world.folder, b"<html>", "page.tar.gz"))
    good = str(written(world.folder, pack(), "good.tar.gz"))
    nobody = f"http://127.0.0.1:{closed_port()}/x.tar.gz"
    assert refused(world, "--from", str(world.folder / "no")) == (2, "source-missing")
    assert refused(world, "--from", str(world.folder)) == (2, "source-missing")
    assert refused(world, "--from", page) == (2, "source-unusable")
    assert refused(world, "--from", evil) == (2, "archive-unsafe")
    assert refused(world, "--from", cut) == (2, "archive-damaged")
    assert refused(world, "--from", good, "--sha256", "0" * 64) == (2, "checksum-mismatch")
    assert refused(world, "--url", nobody) == (3, "download-failed")
    assert refused(world, "--minimal", "--url", nobody) == (64, "usage")
    assert refused(world, "--from", str(source), "--sha256", "0" * 64) == (64, "usage")
    write(shared / "models/own.bin", "own")
    assert refused(world, "--from", str(source), "--link") == (77, "would-lose-work")
    assert refused(world, "--from", str(world.home / "shared")) == (64, "usage")
    assert files_of(world.home / "shared") == {"models/own.bin": b"own"}


# -- who may read and write -----------------------------------------------------------------------

_DAC_OVERRIDE, _DAC_READ_SEARCH, _PR_CAPBSET_DROP = 1, 2, 24


def as_an_ordinary_user() -> None:
    """For a process that starts: root without the power to read what nobody may read."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for power in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            assert libc.prctl(_PR_CAPBSET_DROP, power, 0, 0, 0) == 0


def run_as_an_ordinary_user(world: World, *arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "ktrdr_sandbox", *arguments],
        cwd=world.folder,
        env={**os.environ, "KTRDR_HOME": str(world.home), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=as_an_ordinary_user,
    )
    return Outcome(arguments, world.folder, done.returncode, done.stdout, done.stderr, world)


def test_what_cannot_be_read_is_told_and_all_else_is_copied(
    world: World, source: Path, shared: Path
) -> None:
    write(source / "data/deep/x.csv", "x")
    secret, folder = source / "data/AAPL_1d.csv", source / "data/deep"
    secret.chmod(0)
    folder.chmod(0)
    try:
        outcome = run_as_an_ordinary_user(world, "init-shared", "--from", str(source))
        document = run_as_an_ordinary_user(world, "init-shared", "--from", str(source), "--json")
    finally:
        secret.chmod(0o644)
        folder.chmod(0o755)
    assert outcome.exit_code == 1, outcome
    assert set(files_of(shared)) == {
        "data/EURUSD_1h.csv",
        "models/momentum/v1/weights.bin",
        "strategies/momentum.yaml",
    }
    lines = outcome.out.splitlines()
    at = lines.index("Not copied:")
    assert set(lines[at + 1 : at + 3]) == {
        "  data/AAPL_1d.csv  cannot be read: Permission denied",
        "  data/deep  cannot be read: Permission denied",
    }
    assert outcome.err == (
        "error: 2 items of the source could not be copied.\n"
        "hint: Put right what is said above and run it again: it copies the rest.\n"
    )
    assert document.exit_code == 1, document
    assert document.document["error"]["code"] == "copy-incomplete"
    assert document.document["data"]["unchanged"] == 3
    assert {one["path"] for one in document.document["data"]["left_out"]} == {
        "data/AAPL_1d.csv",
        "data/deep",
    }
    assert world.run("init-shared", "--from", str(source)).exit_code == 0
    assert kinds_of(shared) == kinds_of(source)


def test_a_shared_folder_that_cannot_be_written(world: World, source: Path, shared: Path) -> None:
    world.run("init-shared", "--from", str(source))
    write(source / "strategies/new.yaml", "new")
    (shared / "strategies").chmod(0o555)
    try:
        outcome = run_as_an_ordinary_user(world, "init-shared", "--from", str(source))
    finally:
        (shared / "strategies").chmod(0o755)
    assert outcome.exit_code == 73, outcome
    assert outcome.err.startswith("error: Cannot write <world>/home/shared: Permission denied.\n")
    assert outcome.err.endswith("hint: What is there is whole; the same command goes on from it.\n")


# -- full disks -----------------------------------------------------------------------------------

# In a mount namespace of its own, so that nothing of it can stay behind.
_SMALL_DISK = """
import os, subprocess, sys
ENTRY = ["-m", "ktrdr_sandbox"]
home, megabytes, more = sys.argv[1], sys.argv[2], sys.argv[3:]
os.makedirs(home)
options = f"size={megabytes}m" + ("" if more[0] == "-" else f",nr_inodes={more[0]}")
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", home], check=True)
for argv in (more[1:], [*more[1:], "--json"]):
    program = [sys.executable, *ENTRY, *argv]
    done = subprocess.run(program, capture_output=True, text=True)
    print(done.returncode, done.stdout, done.stderr, sep="\\x1f", end="\\x1e")
files = [f for _, _, names in os.walk(home + "/shared") for f in names]
print(sorted(files), end="")
"""


def on_a_small_disk(
    world: World, megabytes: int, *arguments: str, inodes: str = "-"
) -> tuple[list[list[str]], str]:
    namespace = [] if os.geteuid() == 0 else ["--map-root-user"]
    argv = ["unshare", "--mount", *namespace, sys.executable, "-c", _SMALL_DISK]
    done = subprocess.run(
        [*argv, str(world.home), str(megabytes), inodes, *arguments],
        cwd=world.folder,
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    *runs, files = done.stdout.split("\x1e")
    return [run.split("\x1f") for run in runs], files


def test_a_disk_too_small_is_noticed_before_anything_is_copied(world: World, source: Path) -> None:
    write(source / "models/big.bin", os.urandom(30_000_000))
    runs, files = on_a_small_disk(world, 40, "init-shared", "--from", str(source))
    assert [run[0] for run in runs] == ["73", "73"]
    assert world.shown(runs[0][2]) == (
        "error: Not enough room in <world>/home/shared: 46.8 MB are needed and 41.9 MB are free.\n"
        "hint: Free some, or point KTRDR_HOME at another disk.\n"
    )
    error = json.loads(runs[1][1])["error"]
    assert error["details"]["needed"] > error["details"]["free"]
    assert files == "[]"


def test_a_file_system_that_takes_no_more_files(world: World, source: Path) -> None:
    for number in range(200):
        write(source / f"data/S{number}_1d.csv", "x")
    runs, files = on_a_small_disk(world, 40, "init-shared", "--from", str(source), inodes="100")
    assert runs[0][0] == "73"
    assert "for 204 files: its file system takes" in runs[0][2]
    assert files == "[]"


def test_an_archive_too_large_for_the_disk(world: World) -> None:
    path = written(world.folder, pack({"models/big.bin": os.urandom(30_000_000)}, kind=".tar.zst"))
    runs, files = on_a_small_disk(world, 40, "init-shared", "--from", str(path))
    assert [run[0] for run in runs] == ["73", "73"]
    assert files == "[]"


_OPTIMIST = """
import os, runpy
real = os.statvfs
class Roomy:
    def __init__(self, found):
        self.found = found
    def __getattr__(self, name):
        return 10**9 if name == "f_bavail" else getattr(self.found, name)
os.statvfs = lambda path: Roomy(real(path))
runpy.run_module("ktrdr_sandbox", run_name="__main__")
"""


def test_a_disk_that_fills_up_meanwhile(world: World, source: Path) -> None:
    """Nobody can foresee others who write at the same time: the disk says that it has room."""
    for number in range(10):
        write(source / f"models/{number}.bin", os.urandom(700_000))
    script = _SMALL_DISK.replace("ENTRY = [", f"ENTRY = ['-c', {_OPTIMIST!r}]; _ = [").replace(
        "for argv in", 'open(home + "/filler", "wb").write(bytes(18_500_000))\nfor argv in'
    )
    namespace = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        [
            *("unshare", "--mount", *namespace, sys.executable, "-c", script),
            *(str(world.home), "24", "-", "init-shared", "--from", str(source)),
        ],
        env={**os.environ, "KTRDR_HOME": str(world.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, files = done.stdout.split("\x1e")
    assert first.startswith("73\x1f"), first
    assert second.startswith("73\x1f"), second
    assert "No space left on device" in first
    assert "the same command goes on from it" in first
    assert ".part" not in files
    assert 1 <= files.count(".bin") < 10 + 1


def test_of_very_many_files_each_change_is_seen(world: World, shared: Path) -> None:
    root = world.folder / "big"
    for number in range(1200):
        write(root / f"data/{number % 3}/{number}.csv", f"{number}\n")
    (root / "data/latest").symlink_to("0/0.csv")
    world.run("init-shared", "--from", str(root))
    write(root / "data/0/3.csv", "changed at the source\n", time_ns=LATER)
    write(shared / "data/1/4.csv", "changed here\n", time_ns=LATER)
    write(root / "data/1/7.csv", "changed on\n", time_ns=LATER)
    write(shared / "data/1/7.csv", "both sides\n", time_ns=LATER + 1)
    (shared / "data/2/5.csv").unlink()
    (shared / "data/2/5.csv").mkdir()
    (shared / "data/2/8.csv").unlink()
    write(root / "data/9/new.csv", "new\n")
    write(shared / "data/own/own.csv", "own\n")
    outcome = world.run("init-shared", "--from", str(root), "--json")
    assert outcome.data["copied"] == {
        "files": 3,
        "new": 2,
        "replaced": 1,
        "bytes": len("changed at the source\n8\nnew\n"),
        "links": 0,
        "folders": 1,
    }
    assert outcome.data["unchanged"] == 1200 - 5 + 1
    assert sorted((one["path"], one["reason"]) for one in outcome.data["kept"]) == [
        ("data/1/4.csv", "changed"),
        ("data/1/7.csv", "changed"),
        ("data/2/5.csv", "in-the-way"),
    ]
    assert (shared / "data/0/3.csv").read_text() == "changed at the source\n"
    assert (shared / "data/own/own.csv").read_text() == "own\n"


# -- several at once, and interrupted -------------------------------------------------------------


def start(
    world: World, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ktrdr_sandbox", *arguments],
        cwd=world.folder,
        env={**os.environ, "KTRDR_HOME": str(world.home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heeding_hangups,
    )


def test_four_at_once_are_as_good_as_one(world: World, shared: Path) -> None:
    root = world.folder / "big"
    for number in range(400):
        write(root / f"data/{number % 8}/{number}.csv", os.urandom(number * 10))
    runs = [start(world, ["init-shared", "--from", str(root)]) for _ in range(4)]
    texts = [run.communicate(timeout=100) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, texts
    assert sum("Copied 400 files" in out for out, _ in texts) == 1
    assert sum("Nothing to copy" in out for out, _ in texts) == 3
    assert kinds_of(shared) == kinds_of(root)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_whole_files_and_says_how_to_go_on(
    world: World, shared: Path, number: signal.Signals
) -> None:
    root = world.folder / "big"
    for part in range(400):
        write(root / f"data/{part}_1d.csv", "x")
    for part in range(6):
        write(root / f"models/{part}.bin", os.urandom(1024) * 60_000)
    with start(world, ["init-shared", "--from", str(root)]) as process:
        wait_until(lambda: (shared / ".init-shared").exists(), process)
        os.killpg(process.pid, number)  # as a terminal does
        out, err = process.communicate(timeout=60)
    if process.returncode == 0:  # it was quicker than the signal
        assert out.startswith("Copied 406 files")
    else:
        assert process.returncode == 130, err
        assert out == ""
        assert err == (
            "error: Interrupted.\n"
            "hint: Everything that was copied is whole; the same command goes on from there.\n"
        )
    for path in shared.rglob("*.bin"):
        assert path.stat().st_size == 1024 * 60_000
    assert not (shared / ".init-shared").exists()
    again = world.run("init-shared", "--from", str(root))
    assert again.exit_code == 0, again
    assert kinds_of(shared) == kinds_of(root)


def something_came() -> bool:
    return any(part.stat().st_size for part in pack_folder().rglob("*.part"))


def test_an_interrupted_download_is_gone_on_with(world: World, shared: Path) -> None:
    content = pack({"models/weights.bin": os.urandom(3_000_000)})
    with serving(PackServer(content, faults=[Fault(stall_after=2_000_000)])) as server:
        with start(world, ["init-shared", "--url", server.url]) as process:
            wait_until(something_came, process)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        outcome = world.run("init-shared", "--url", server.url)
        assert outcome.exit_code == 0, outcome
        assert server.asked[-1].get("range", "").startswith("bytes=")
    assert set(files_of(shared)) == {"models/weights.bin"}


# -- progress -------------------------------------------------------------------------------------


def test_a_long_download_tells_how_far_it_is(world: World) -> None:
    """Lines on a pipe, the first after five seconds."""
    content = pack({"models/weights.bin": os.urandom(3_000_000)})
    faults: list[Fault | None] = [Fault(stall_after=1_000_000), Fault(stall_after=1_000_000)]
    with serving(PackServer(content, faults=faults)) as server:
        outcome = world.run("init-shared", "--url", server.url, "--timeout", "3")
    assert outcome.exit_code == 0, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("  downloading: ")
    assert " of 3.0 MB, " in line
    assert line.endswith(" left")


def test_a_bar_on_a_terminal(world: World, source: Path) -> None:
    write(source / "models/big.bin", os.urandom(1024) * 90_000)
    argv = [sys.executable, "-m", "ktrdr_sandbox", "init-shared", "--from", str(source)]
    environment = {**os.environ, "KTRDR_HOME": str(world.home), "TERM": "xterm"}
    with terminal(argv, cwd=world.folder, environment=environment) as shown:
        status, _ = shown.end()
    assert status == 0, shown.text
    assert "copying" in shown.text
    assert "Copied 5 files" in shown.text


def test_a_snapshot_of_nothing_changes_when_it_is_refused(world: World, source: Path) -> None:
    world.run("init-shared", "--from", str(source))
    before = snapshot(world.home / "shared")
    for arguments in (["--from", "/nowhere"], ["--url", "ftp://x"], ["--link"]):
        assert world.run("init-shared", *arguments).exit_code != 0
    assert snapshot(world.home / "shared") == before
