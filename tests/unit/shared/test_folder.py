"""Runs of init-shared on folders, one after another: what is copied, kept, told and repaired."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrdr_sandbox.shared.results import Copied, Kept, Progress
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


def test_only_what_is_missing_or_changed_in_the_source_is_copied(
    sharing: Sharing, source: Path
) -> None:
    done = sharing.run(source)
    assert kinds_of(sharing.shared) == kinds_of(source)
    assert done.copied == Copied(4, 4, 0, sum(map(len, files_of(source).values())), 0, 2)
    copying = [one for one in sharing.progress if one.stage == "copying"]
    assert copying[-1].total == done.copied.bytes
    assert copying == sorted(copying)
    write(source / AAPL, "changed\n", time_ns=LATER)
    write(source / "data/MSFT_1d.csv", "new\n")
    write(sharing.shared / "data/OWN_1d.csv", "own\n")
    (source / "models/empty/deep").mkdir(parents=True)
    (sharing.shared / "strategies/momentum.yaml").unlink()
    assert sharing.counts(source) == (2, 1, 2)
    (sharing.shared / "data/OWN_1d.csv").unlink()
    assert kinds_of(sharing.shared) == kinds_of(source)
    before = snapshot(sharing.shared)
    done = sharing.run(source)
    assert (done.copied, done.unchanged, done.shared) == (Copied(), 5, None)
    assert snapshot(sharing.shared) == before


def test_permissions_and_times_come_along(sharing: Sharing, source: Path) -> None:
    (source / AAPL).chmod(0o640)
    (source / "data/EURUSD_1h.csv").chmod(0o4711)
    folder = source / "models/momentum/v1"
    folder.chmod(0o500)
    before = os.umask(0o077)
    try:
        sharing.run(source)
    finally:
        os.umask(before)
        folder.chmod(0o700)

    def mode(path: str) -> int:
        return stat.S_IMODE((sharing.shared / path).stat().st_mode)

    assert mode(AAPL) == 0o640
    assert mode("data/EURUSD_1h.csv") == 0o711, "a program of the source's owner is none here"
    assert mode("models/momentum/v1") == 0o700, "a later run has to write there"
    assert mode("data") == 0o777, "the containers' user has to write there"
    assert (sharing.shared / AAPL).stat().st_mtime_ns == TIME_NS


@pytest.mark.parametrize("has_copier", [True, False])
def test_sizes_holes_second_names_and_odd_names(
    sharing: Sharing, source: Path, monkeypatch: pytest.MonkeyPatch, has_copier: bool
) -> None:
    if not has_copier:
        monkeypatch.setenv("PATH", "")
    for size in (0, 1, 1024 * 1024, 3 * 1024 * 1024 + 17):
        write(source / f"models/{size}.bin", os.urandom(size))
    with (source / "models/sparse.bin").open("wb") as file:
        file.seek(20 * 1024 * 1024)
        file.write(b"middle")
        file.truncate(50 * 1024 * 1024)
    os.link(source / AAPL, source / "data/AAPL_again.csv")
    names = ["-rf", "new\nline", "café", "caf\udce9", "  ", "\x1b[31mred", "x" * 255, "=1"]
    for name in names:
        write(source / "data" / f"in {name}"[:255] / name, "deep")
    done = sharing.run(source)
    assert (done.copied.new, done.left_out) == (4 + 4 + 1 + 1 + len(names), [])
    assert kinds_of(sharing.shared) == kinds_of(source)
    assert (sharing.shared / AAPL).stat().st_nlink == 1
    assert (sharing.shared / "models/sparse.bin").stat().st_blocks * 512 < 3 * 1024 * 1024
    assert sharing.run(source).unchanged == done.copied.new


def test_a_file_changed_in_the_shared_folder_is_kept(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    for time in (LATER, LATER + 1):
        write(sharing.shared / AAPL, "edited here\n", time_ns=time + 10**10)
        done = sharing.run(source)
        assert (done.kept, done.unchanged) == ([Kept(AAPL, "changed")], 3)
        write(source / AAPL, "changed\n", time_ns=time)
    assert (sharing.shared / AAPL).read_text() == "edited here\n"
    assert sharing.counts(source, overwrite=True) == (0, 1, 3)
    assert kinds_of(sharing.shared) == kinds_of(source)


def test_a_copy_made_by_other_means_with_its_times_is_ours(sharing: Sharing, source: Path) -> None:
    """By `cp -a`, or by a run whose manifest is lost; then the source changes."""
    sharing.run(source)
    sharing.home.shared_manifest.unlink()
    write(source / AAPL, "changed\n", time_ns=LATER)
    done = sharing.run(source)
    assert (done.unchanged, done.kept) == (3, [Kept(AAPL, "changed")])
    write(source / "data/EURUSD_1h.csv", "changed\n", time_ns=LATER)
    assert sharing.run(source).copied.replaced == 1, "what is the same is known again"


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


def test_a_file_left_short_by_a_power_cut_is_copied_anew(sharing: Sharing, source: Path) -> None:
    """It has the time that it was given, and not the size."""
    sharing.run(source)
    for known in (True, False):
        write(sharing.shared / AAPL, b"", time_ns=TIME_NS)
        if not known:
            sharing.home.shared_manifest.unlink()
        assert sharing.counts(source) == (0, 1, 3), known
        assert kinds_of(sharing.shared) == kinds_of(source)


@pytest.mark.parametrize("grain", [100, 1_000_000, 2_000_000_000])
def test_a_file_system_with_coarse_times(sharing: Sharing, source: Path, grain: int) -> None:
    sharing.run(source)
    coarse = TIME_NS - TIME_NS % grain
    os.utime(sharing.shared / AAPL, ns=(coarse, coarse))
    assert sharing.counts(source) == (0, 0, 4)
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


def test_after_kills_what_is_there_is_still_ours(sharing: Sharing, source: Path) -> None:
    """Killed with another version each time, before or after the file was placed."""
    sharing.run(source)
    first = (sharing.shared / AAPL).read_bytes()
    for version in (1, 2, 3):
        write(source / AAPL, f"{version}\n" * version, time_ns=LATER + version)
        killed_before_its_end(sharing, lambda: sharing.run(source))
        if version == 2:
            write(sharing.shared / AAPL, first)
    write(source / AAPL, "last\n", time_ns=LATER + 9)
    write(sharing.shared / "data/EURUSD_1h.csv", "edited\n", time_ns=LATER)
    done = sharing.run(source)
    assert (done.copied.replaced, done.kept) == (1, [Kept("data/EURUSD_1h.csv", "changed")])


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_in_the_way_stays_and_no_link_is_written_through(
    sharing: Sharing, source: Path, tmp_path: Path, overwrite: bool
) -> None:
    outside = write_tree(tmp_path / "outside", {"file": "own\n", "folder/weights.bin": "own\n"})
    write(sharing.shared / AAPL / "inside", "own\n")
    write(sharing.shared / "strategies/x", "")
    (sharing.shared / "models/momentum").mkdir(parents=True)
    (sharing.shared / "models/momentum/v1").symlink_to(outside / "folder")
    (sharing.shared / "strategies/momentum.yaml").symlink_to(outside / "file")
    link = Kept("strategies/momentum.yaml", "in-the-way", "a link")
    assert set(sharing.run(source, overwrite=overwrite).kept) == {
        Kept(AAPL, "in-the-way", "a folder"),
        Kept("models/momentum/v1", "in-the-way", "no folder"),
        *([] if overwrite else [link]),
    }
    assert (sharing.shared / AAPL / "inside").read_text() == "own\n"
    assert (sharing.shared / "strategies/momentum.yaml").is_symlink() != overwrite
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


def test_the_same_folder_and_one_in_the_other(sharing: Sharing, source: Path) -> None:
    sharing.run(source)
    alias = sharing.root / "alias"
    alias.symlink_to(sharing.shared)
    inner = checkout(sharing.shared / "models" / "copy")
    before = snapshot(sharing.shared)
    for same in (sharing.shared, alias, sharing.shared / ".." / "shared", inner):
        assert sharing.refused(same, overwrite=True).code == "usage"
    assert snapshot(sharing.shared) == before
    outer = write_tree(sharing.root / "outer", {"data/x.csv": "x\n"})
    assert Sharing(outer / "data").refused(outer).code == "usage"
    assert Sharing(source).run(source).copied.new == 4, "a home beside the data is fine"


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


def test_links_within_the_folders_stay_links(
    sharing: Sharing, source: Path, tmp_path: Path
) -> None:
    (source / "data").rename(tmp_path / "disk")
    (source / "data").symlink_to(tmp_path / "disk")
    (source / "models/absolute").symlink_to(source / "models/momentum/v1")
    (source / "models/prices").symlink_to("../data")
    (source / "models/later").symlink_to("v2")
    write(tmp_path / "big.csv", "big\n")
    (tmp_path / "disk/big.csv").symlink_to(tmp_path / "big.csv")
    (tmp_path / "disk/up").symlink_to(tmp_path)
    (tmp_path / "disk/gone").symlink_to("/nowhere")
    done = sharing.run(source)
    assert link_text(sharing.shared / "models/absolute") == "momentum/v1"
    assert link_text(sharing.shared / "models/prices") == "../data"
    assert link_text(sharing.shared / "models/later") == "v2", "it may come yet"
    assert (done.copied.links, done.copied.files, done.failures) == (3, 5, 0)
    assert files_of(sharing.shared)["data/big.csv"] == b"big\n", "in a container it leads nowhere"
    assert {one.path: one.reason for one in done.left_out} == {
        "data/up": f"is a link that leads out of the folders, to {tmp_path}",
        "data/gone": "is a link that leads out of the folders, to /nowhere",
    }
    assert sharing.run(source).copied == Copied()


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
    assert sharing.run(source).kept == [Kept("models/latest", "changed")]
    assert sharing.run(source, overwrite=True).copied.links == 1
    copy.unlink()
    copy.write_text("own\n")
    assert sharing.run(source).kept == [Kept("models/latest", "in-the-way", "no link")]


def test_files_written_while_they_are_read_are_copied_as_they_were_at_one_moment(
    sharing: Sharing, tmp_path: Path
) -> None:
    """Content and time belong together: the next run sees the change that came later."""
    root = write_tree(tmp_path / "live", {f"data/{n}.csv": "0" * 300_000 for n in range(20)})

    def change(progress: Progress) -> None:
        version = str(len(sharing.progress))[-1]
        write(root / "data/7.csv", version * 300_000, time_ns=TIME_NS + len(sharing.progress))
        sharing.progress.append(progress)

    sharing.observe = change
    sharing.run(root)
    copy = (sharing.shared / "data/7.csv").read_bytes()
    assert len(copy) == 300_000
    assert len(set(copy)) == 1
    sharing.observe = sharing.progress.append
    sharing.run(root)
    assert kinds_of(sharing.shared) == kinds_of(root)


def test_what_a_stack_writes_meanwhile_is_kept(sharing: Sharing, source: Path) -> None:
    def write_meanwhile(progress: Progress) -> None:
        if progress.stage == "copying":
            write(sharing.shared / AAPL, "a stack's own\n")

    sharing.observe = write_meanwhile
    assert sharing.run(source).kept == [Kept(AAPL, "appeared")]
    assert (sharing.shared / AAPL).read_text() == "a stack's own\n"


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


def test_a_copier_that_outlives_its_run_harms_nothing(sharing: Sharing, source: Path) -> None:
    """It goes on writing into the staging folder while the next run clears it."""
    staging = sharing.shared / ".init-shared" / "killed" / "data"
    staging.mkdir(parents=True)
    script = 'while echo x > "$0/$$.$((i = i + 1))"; do :; done'
    with subprocess.Popen(["sh", "-c", script, staging], stderr=subprocess.DEVNULL) as copier:
        assert sharing.counts(source) == (4, 0, 0)
        copier.terminate()
        copier.wait(10)
    sharing.run(source)
    assert list(sharing.leftovers()) == []
