"""Runs of init-shared on folders, one after another: what is copied, kept, told and repaired."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.commands.init_shared import Request, init_shared
from ktrdr_sandbox.shared.results import Copied, Kept, LeftOut, Progress
from tests.support.trees import (
    TIME_NS,
    checkout,
    files_of,
    kinds_of,
    link_text,
    snapshot,
    write,
    write_tree,
)
from tests.unit.shared.runs import Sharing

AAPL = "data/AAPL_1d.csv"
LATER = TIME_NS + 60 * 10**9


def test_a_checkout_is_copied(sharing: Sharing, source: Path) -> None:
    done = sharing.run(source)
    assert kinds_of(sharing.shared) == kinds_of(source)
    assert (done.copied.new, done.copied.replaced, done.unchanged) == (4, 0, 0)
    assert done.copied.bytes == sum(len(content) for content in files_of(source).values())
    assert (done.kept, done.left_out) == ([], [])
    assert sorted(path.name for path in sharing.shared.iterdir()) == [
        "data",
        "models",
        "strategies",
    ]


def test_progress_goes_up_to_all_of_it(sharing: Sharing, source: Path) -> None:
    done = sharing.run(source)
    copying = [one for one in sharing.progress if one.stage == "copying"]
    assert copying[-1].size == copying[-1].size_total == done.copied.bytes
    assert copying[-1].files == copying[-1].files_total == 4
    sizes = [one.size for one in copying]
    assert sizes == sorted(sizes)


def test_only_what_is_missing_or_changed_in_the_source_is_copied(
    sharing: Sharing, source: Path
) -> None:
    sharing.run(source)
    write(source / AAPL, "changed\n", time_ns=LATER)
    write(source / "data/MSFT_1d.csv", "new\n")
    (sharing.shared / "strategies/momentum.yaml").unlink()
    done = sharing.run(source)
    assert (done.copied.new, done.copied.replaced, done.unchanged) == (2, 1, 2)
    assert kinds_of(sharing.shared) == kinds_of(source)


def test_permissions_and_times_come_along(sharing: Sharing, source: Path) -> None:
    (source / AAPL).chmod(0o640)
    (source / "strategies/momentum.yaml").chmod(0o755)
    (source / "data/EURUSD_1h.csv").chmod(0o4711)
    folder = source / "models/momentum/v1"
    folder.chmod(0o500)
    os.utime(folder, ns=(TIME_NS, TIME_NS))
    before = os.umask(0o077)
    try:
        sharing.run(source)
    finally:
        os.umask(before)
        folder.chmod(0o700)

    def mode(path: str) -> int:
        return stat.S_IMODE((sharing.shared / path).stat().st_mode)

    assert mode(AAPL) == 0o640
    assert mode("strategies/momentum.yaml") == 0o755
    assert mode("data/EURUSD_1h.csv") == 0o711, "a program of the source's owner is none here"
    assert mode("models/momentum/v1") == 0o700, "a later run has to write there"
    assert mode("data") == 0o777, "the containers' user has to write there"
    copied = (sharing.shared / "models/momentum/v1").stat()
    assert copied.st_mtime_ns == TIME_NS
    assert (sharing.shared / AAPL).stat().st_mtime_ns == TIME_NS


@pytest.mark.parametrize("size", [0, 1, 4095, 256 * 1024, 256 * 1024 + 1, 9 * 1024 * 1024 + 17])
def test_files_of_every_size(sharing: Sharing, source: Path, size: int) -> None:
    write(source / "models/weights.bin", os.urandom(size))
    sharing.run(source)
    assert kinds_of(sharing.shared) == kinds_of(source)


def test_holes_stay_holes(sharing: Sharing, source: Path) -> None:
    path = source / "models/sparse.bin"
    with path.open("wb") as file:
        file.write(b"begin")
        file.seek(20 * 1024 * 1024)
        file.write(b"middle")
        file.truncate(50 * 1024 * 1024)
    sharing.run(source)
    copy = sharing.shared / "models/sparse.bin"
    assert copy.read_bytes() == path.read_bytes()
    assert copy.stat().st_blocks * 512 < 1024 * 1024


def test_odd_names(sharing: Sharing, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    names = ["-rf", "new\nline", "café", "caf\udce9", "  ", "tab\t", "\x1b[31mred", "x" * 255, "=1"]
    for name in names:
        write(root / "data" / name, name.encode("utf-8", "surrogateescape"))
        write(root / "data" / f"in {name}"[:255] / name, "deep")
    done = sharing.run(root)
    assert (done.copied.new, done.left_out) == (2 * len(names), [])
    assert kinds_of(sharing.shared) == kinds_of(root)
    assert sharing.run(root).unchanged == 2 * len(names)


def edited(sharing: Sharing) -> Path:
    path = sharing.shared / AAPL
    path.write_text("edited here\n")
    return path


def test_a_file_changed_in_the_shared_folder_is_kept(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    path = edited(sharing)
    for change in ("nothing", "the source, too"):
        if change != "nothing":
            write(source / AAPL, "changed\n", time_ns=LATER)
        done = sharing.run(source)
        assert done.kept == [Kept(AAPL, "changed")], change
        assert path.read_text() == "edited here\n"
        assert done.unchanged == 3


def test_overwrite_takes_the_sources(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    edited(sharing)
    done = sharing.run(source, overwrite=True)
    assert (done.copied.replaced, done.unchanged, done.kept) == (1, 3, [])
    assert kinds_of(sharing.shared) == kinds_of(source)
    assert sharing.run(source).kept == []


def test_a_file_with_another_time_and_the_same_content_is_the_same(
    sharing: Sharing, source: Path
) -> None:
    """Copied by hand without times, say; or touched."""
    shutil.copytree(source / "data", sharing.shared / "data", copy_function=shutil.copyfile)
    done = sharing.run(source)
    assert (done.unchanged, done.copied.new, done.kept) == (2, 2, [])
    write(source / AAPL, "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 0, "its time is not the one that we gave it"


def test_a_copy_made_by_other_means_with_its_times_is_ours(sharing: Sharing, source: Path) -> None:
    """By `cp -a`, as the architecture document has it; then the source changes."""
    shutil.copytree(source / "data", sharing.shared / "data")
    assert sharing.run(source).unchanged == 2
    write(source / AAPL, "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 1


def test_without_the_manifest_what_differs_is_kept(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    sharing.home.shared_manifest.unlink()
    write(source / AAPL, "changed\n", time_ns=LATER)
    done = sharing.run(source)
    assert (done.unchanged, done.kept) == (3, [Kept(AAPL, "changed")])
    write(source / "data/EURUSD_1h.csv", "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 1, "and what is the same is known again"


def test_another_source_does_not_replace_what_an_earlier_one_gave(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    sharing.run(source)
    other = checkout(tmp_path / "other")
    write(other / AAPL, "other\n", time_ns=LATER)
    done = sharing.run(other)
    assert done.kept == [Kept(AAPL, "other-source", str(source))]
    assert done.unchanged == 3
    write(source / AAPL, "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 1, "it is still the first one's"
    assert sharing.run(other, overwrite=True).copied.replaced == 1
    assert (sharing.shared / AAPL).read_text() == "other\n"


def test_a_file_left_short_by_a_power_cut_is_copied_anew(sharing: Sharing, source: Path) -> None:
    """It has the time that it was given, and not the size."""
    sharing.run(source)
    for known in (True, False):
        write(sharing.shared / AAPL, b"", time_ns=TIME_NS)
        if not known:
            sharing.home.shared_manifest.unlink()
        done = sharing.run(source)
        assert (done.copied.replaced, done.kept) == (1, []), known
        assert kinds_of(sharing.shared) == kinds_of(source)


@pytest.mark.parametrize("grain", [100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000])
def test_a_file_system_with_coarse_times(sharing: Sharing, source: Path, grain: int) -> None:
    sharing.run(source)
    coarse = TIME_NS - TIME_NS % grain
    os.utime(sharing.shared / AAPL, ns=(coarse, coarse))
    done = sharing.run(source)
    assert (done.unchanged, done.copied.new, done.copied.replaced, done.kept) == (4, 0, 0, [])
    write(source / AAPL, "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 1


def killed_before_its_end(sharing: Sharing, run: Callable[[], object]) -> None:
    """What a run leaves that is killed when all is in place but not yet written down."""
    manifest = sharing.home.shared_manifest

    def copied(progress: Progress) -> None:
        if progress.stage == "copying":
            held.append(manifest.read_bytes())

    held: list[bytes] = []
    sharing.observe = copied
    run()
    sharing.observe = sharing.progress.append
    manifest.write_bytes(held[-1])


def test_after_a_kill_a_change_in_the_source_is_still_told_from_one_here(
    sharing: Sharing, source: Path
) -> None:
    """Killed twice, with another version of the source each time."""
    for version in range(3):
        write(source / AAPL, f"{version}\n" * version, time_ns=LATER + version)
        killed_before_its_end(sharing, lambda: sharing.run(source))
    edited(sharing)
    write(source / "data/EURUSD_1h.csv", "changed\n", time_ns=LATER)
    done = sharing.run(source)
    assert (done.copied.replaced, done.kept) == (1, [Kept(AAPL, "changed")])


def test_after_a_kill_what_was_not_placed_yet_is_still_ours(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    before = {path: path.read_bytes() for path in (sharing.shared / AAPL,)}
    times = (sharing.shared / AAPL).stat().st_mtime_ns
    for version in (1, 2):
        write(source / AAPL, "x" * version, time_ns=LATER + version)
        killed_before_its_end(sharing, lambda: sharing.run(source))
        for path, content in before.items():
            write(path, content, time_ns=times)
    write(source / AAPL, "last\n", time_ns=LATER + 9)
    done = sharing.run(source)
    assert (done.copied.replaced, done.kept) == (1, [])


def test_a_link_in_the_way_is_never_written_through(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": "own\n", "folder/weights.bin": "own\n"})
    (sharing.shared / "data").mkdir(parents=True)
    (sharing.shared / "models/momentum").mkdir(parents=True)
    (sharing.shared / AAPL).symlink_to(outside / "file")
    (sharing.shared / "models/momentum/v1").symlink_to(outside / "folder")
    done = sharing.run(source)
    assert set(done.kept) == {
        Kept(AAPL, "in-the-way", "a link"),
        Kept("models/momentum/v1", "in-the-way", "no folder"),
    }
    done = sharing.run(source, overwrite=True)
    assert not (sharing.shared / AAPL).is_symlink()
    assert files_of(outside) == {"file": b"own\n", "folder/weights.bin": b"own\n"}


def test_a_dry_run_tells_the_same_and_changes_nothing(sharing: Sharing, source: Path) -> None:
    told = sharing.run(source, dry_run=True)
    assert not sharing.home.root.exists()
    done = sharing.run(source)
    assert told.copied == replace(done.copied, folders=done.copied.folders + 3)
    write(source / AAPL, "changed\n", time_ns=LATER)
    before = snapshot(sharing.home.root)
    told = sharing.run(source, dry_run=True)
    assert (told.copied.new, told.copied.replaced, told.unchanged) == (0, 1, 3)
    assert snapshot(sharing.home.root) == before


def test_the_same_folder(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    before = snapshot(sharing.shared)
    alias = sharing.root / "alias"
    alias.symlink_to(sharing.shared)
    for same in (sharing.shared, alias, sharing.shared / ".." / "shared"):
        error = sharing.refused(same, overwrite=True)
        assert error.code == "usage"
    assert snapshot(sharing.shared) == before


def test_one_in_the_other(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    inner = checkout(sharing.shared / "models" / "copy")
    for inside in (inner, sharing.home.root / "shared"):
        assert sharing.refused(inside).code == "usage"
    outer = write_tree(sharing.root / "outer", {"data/x.csv": "x\n"})
    around = Sharing(outer / "data")
    assert around.refused(outer).code == "usage"
    linked = write_tree(sharing.root / "linked", {"models/x": "x\n"})
    (linked / "data").symlink_to(sharing.shared / "data")
    assert sharing.refused(linked).code == "usage"


def test_a_checkout_that_holds_the_home_beside_its_data_is_fine(tmp_path: Path) -> None:
    root = checkout(tmp_path / "ktrdr")
    inside = Sharing(root)
    assert inside.run(root).copied.new == 4


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"minimal": True, "url": "https://x/y.tar.gz"},
        {"minimal": True, "sha256": "0" * 64},
        {"minimal": True, "link": True},
        {"url": "https://x/y.tar.gz", "sha256": "abc"},
        {"url": "ftp://x/y.tar.gz"},
        {"url": "file://elsewhere/y.tar.gz"},
        {"url": "https://x/y.tar.gz", "dry_run": True},
    ],
)
def test_wrong_usage(sharing: Sharing, wanted: dict[str, Any]) -> None:
    assert sharing.refused(**wanted).code == "usage"
    assert not sharing.shared.exists()


def test_a_link_within_the_folders_stays_one(sharing: Sharing, source: Path) -> None:
    (source / "models/latest").symlink_to("momentum/v1")
    (source / "models/absolute").symlink_to(source / "models/momentum/v1")
    (source / "models/prices").symlink_to("../data")
    (source / "models/momentum/later").symlink_to("v2")
    done = sharing.run(source)
    assert (done.copied.links, done.left_out) == (4, [])
    assert link_text(sharing.shared / "models/latest") == "momentum/v1"
    assert link_text(sharing.shared / "models/absolute") == "momentum/v1"
    assert link_text(sharing.shared / "models/prices") == "../data"
    assert (sharing.shared / "models/prices/AAPL_1d.csv").is_file()
    assert link_text(sharing.shared / "models/momentum/later") == "v2", "it may come yet"
    assert sharing.run(source).copied.links == 0


def test_a_link_that_leads_out_is_followed(sharing: Sharing, source: Path, tmp_path: Path) -> None:
    outside = write_tree(
        tmp_path / "disk", {"big.csv": "big\n", "more/a.csv": "a\n", "more/deep/b.csv": "b\n"}
    )
    (outside / "more/link").symlink_to("deep")
    (outside / "more/back").symlink_to("../big.csv")
    (source / "data/big.csv").symlink_to(outside / "big.csv")
    (source / "data/more").symlink_to("../../disk/more")
    (outside / "empty").mkdir(mode=0o500)
    (source / "models/momentum/empty").symlink_to(outside / "empty")
    done = sharing.run(source)
    assert done.left_out == []
    copied = files_of(sharing.shared / "data")
    assert copied["big.csv"] == b"big\n"
    assert copied["more/deep/b.csv"] == b"b\n"
    assert copied["more/back"] == b"big\n", "from there, too, it leads out"
    assert link_text(sharing.shared / "data/more/link") == "deep"
    assert not (sharing.shared / "data/more").is_symlink()
    assert not (sharing.shared / "models/momentum/empty").is_symlink()
    assert (outside / "empty").stat().st_mode & 0o777 == 0o500


def test_a_folder_that_is_itself_a_link(sharing: Sharing, source: Path, tmp_path: Path) -> None:
    (source / "data").rename(tmp_path / "disk")
    (source / "data").symlink_to(tmp_path / "disk")
    (source / "models/prices").symlink_to("../data/AAPL_1d.csv")
    (tmp_path / "disk/other.csv").symlink_to("AAPL_1d.csv")
    done = sharing.run(source)
    assert (done.copied.new, done.left_out) == (4, [])
    assert link_text(sharing.shared / "models/prices") == "../data/AAPL_1d.csv"
    assert link_text(sharing.shared / "data/other.csv") == "AAPL_1d.csv"


def test_links_to_nothing_and_in_circles_are_told(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    (source / "data/gone").symlink_to("/nowhere/at/all")
    (source / "data/up").symlink_to(tmp_path)
    (source / "models/self").symlink_to(source)
    (source / "models/loop").symlink_to("loop")
    sharing.shared.mkdir(parents=True)
    (source / "data/shared").symlink_to(sharing.shared)
    done = sharing.run(source)
    reasons = {one.path: one.reason for one in done.left_out}
    assert reasons == {
        "data/gone": "is a link to /nowhere/at/all, which does not exist",
        "data/up": f"is a link that leads around in a circle, to {tmp_path}",
        "models/self": f"is a link that leads around in a circle, to {source}",
        "data/shared": f"is a link that leads around in a circle, to {sharing.shared}",
    }
    assert done.failures == 0
    assert link_text(sharing.shared / "models/loop") == "loop", "within the folder, as it is"


def test_a_changed_link_is_replaced_and_the_users_own_is_kept(
    sharing: Sharing, source: Path
) -> None:
    link, copy = source / "models/latest", sharing.shared / "models/latest"
    link.symlink_to("v1")
    sharing.run(source)
    link.unlink()
    link.symlink_to("v2")
    assert sharing.run(source).copied.links == 1
    assert link_text(copy) == "v2"
    copy.unlink()
    copy.symlink_to("mine")
    done = sharing.run(source)
    assert done.kept == [Kept("models/latest", "changed")]
    assert sharing.run(source, overwrite=True).copied.links == 1
    assert link_text(copy) == "v2"
    copy.unlink()
    copy.write_text("own\n")
    assert sharing.run(source).kept == [Kept("models/latest", "in-the-way", "no link")]


def test_what_is_no_file_is_told(sharing: Sharing, source: Path) -> None:
    os.mkfifo(source / "data/pipe")
    with socket.socket(socket.AF_UNIX) as unix, inside(source / "data"):
        unix.bind("socket")
    done = sharing.run(source)
    assert set(done.left_out) == {
        LeftOut("data/pipe", "is a named pipe", failed=False),
        LeftOut("data/socket", "is a socket", failed=False),
    }
    assert done.copied.new == 4


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """A socket's path may be short only."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_files_written_while_they_are_read_are_copied_as_they_were_at_one_moment(
    sharing: Sharing, tmp_path: Path
) -> None:
    """Content and time belong together: the next run sees the change that came later."""
    root = write_tree(tmp_path / "live", {f"data/{n}.csv": "0" * 300_000 for n in range(20)})

    def change(progress: Progress) -> None:
        version = str(len(sharing.progress))[-1]
        write(root / "data/7.csv", version * 300_000, time_ns=TIME_NS + len(sharing.progress))
        sharing.progress.append(progress)

    init_shared(sharing.home, Request(source=root), tell=sharing.told.append, observe=change)
    copy = (sharing.shared / "data/7.csv").read_bytes()
    assert len(copy) == 300_000
    assert len(set(copy)) == 1
    sharing.run(root)
    assert kinds_of(sharing.shared) == kinds_of(root)


def test_nothing_of_ours_is_left_in_the_shared_folder(sharing: Sharing, source: Path) -> None:
    write(sharing.shared / ".init-shared" / "7.part", "left by a killed run")
    sharing.run(source)
    assert list(sharing.leftovers()) == []


def test_a_second_run_copies_nothing_and_removes_nothing(sharing: Sharing, source: Path) -> None:
    (source / "models/empty/deep").mkdir(parents=True)
    write(sharing.shared / "data/OWN_1d.csv", "own\n")
    assert sharing.run(source).copied.folders == 4
    before = snapshot(sharing.shared)
    done = sharing.run(source)
    assert (done.copied, done.unchanged, done.shared) == (Copied(), 4, None)
    assert snapshot(sharing.shared) == before


@pytest.mark.parametrize("name", ["nowhere", "empty", "ktrdr/data"])
def test_a_source_of_no_use(sharing: Sharing, source: Path, name: str) -> None:
    (sharing.root / "empty").mkdir()
    path = sharing.root / name
    error = sharing.refused(path)
    assert error.code == "source-missing"
    assert error.message in (
        f"There is no {path}.",
        f"{path} has none of the folders data/, models/, strategies/.",
    )
    hint = f"Give the folder that data/ lies in: --from {source}"
    assert error.hints == ((hint,) if name == "ktrdr/data" else ())


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_and_files_in_the_way_of_one_another(
    sharing: Sharing, source: Path, overwrite: bool
) -> None:
    write(sharing.shared / AAPL / "inside", "own\n")
    write(sharing.shared / "models/momentum", "own\n")
    assert set(sharing.run(source, overwrite=overwrite).kept) == {
        Kept(AAPL, "in-the-way", "a folder"),
        Kept("models/momentum", "in-the-way", "no folder"),
    }
    assert (sharing.shared / AAPL / "inside").read_text() == "own\n"
    assert (sharing.shared / "models/momentum").read_text() == "own\n"


def test_what_came_first_of_a_kind_is_not_touched_by_its_copy_as_a_whole(
    sharing: Sharing, source: Path
) -> None:
    """A running stack writes a file between looking and placing."""

    def write_meanwhile(progress: Progress) -> None:
        if progress.stage == "copying":
            write(sharing.shared / AAPL, "a stack's own\n")

    sharing.observe = write_meanwhile
    assert sharing.run(source).kept == [Kept(AAPL, "appeared")]
    assert (sharing.shared / AAPL).read_text() == "a stack's own\n"


def test_without_a_copier_files_are_copied_one_by_one(
    sharing: Sharing, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (source / "models/latest").symlink_to("momentum")
    write(source / "models/big.bin", os.urandom(3_000_000) + bytes(3_000_000))
    assert sharing.counts(source) == (5, 0, 0)
    assert kinds_of(sharing.shared) == kinds_of(source)


def test_second_names_of_a_file_become_files(sharing: Sharing, source: Path) -> None:
    os.link(source / AAPL, source / "data/AAPL_again.csv")
    sharing.run(source)
    assert (sharing.shared / AAPL).stat().st_nlink == 1
    assert kinds_of(sharing.shared) == kinds_of(source)


def test_a_copier_that_outlives_its_run_harms_nothing(sharing: Sharing, source: Path) -> None:
    """It goes on writing into the staging folder while the next run clears it."""
    staging = sharing.shared / ".init-shared" / "killed" / "data"
    staging.mkdir(parents=True)
    script = 'while echo x > "$0/$$.$((i = i + 1))"; do :; done'
    with subprocess.Popen(["sh", "-c", script, staging], stderr=subprocess.DEVNULL) as copier:
        assert sharing.counts(source) == (4, 0, 0)
        copier.wait(10)
    assert list(sharing.leftovers()) == []
