"""Archives as a source: honest ones of each kind, and hostile ones, of which nothing is written."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import pytest

from ktrdr_sandbox.shared import archive
from ktrdr_sandbox.shared.archive import zstd
from ktrdr_sandbox.shared.results import Kept, Progress
from tests.support.packs import PRICES, file, link, pack, packed, tar, written
from tests.support.trees import files_of, link_text, snapshot, write
from tests.unit.shared.runs import Sharing

KINDS = [".tar", ".tar.gz", ".tar.zst"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_unpacked(sharing: Sharing, kind: str) -> None:
    path = written(sharing.root, pack(kind=kind), f"pack{kind}")
    done = sharing.run(path)
    assert files_of(sharing.shared) == {
        "data/AAPL_1d.csv": PRICES.encode(),
        "models/momentum/v1/weights.bin": bytes(range(256)) * 40,
        "strategies/momentum.yaml": b"name: momentum\n",
    }
    assert (done.copied.new, done.unchanged) == (3, 0)
    info = (sharing.shared / "data/AAPL_1d.csv").stat()
    assert (info.st_mode & 0o777, info.st_mtime) == (0o644, 1_700_000_000)
    assert list(sharing.leftovers()) == []
    before = snapshot(sharing.shared)
    (sharing.shared / "data/AAPL_1d.csv").unlink()
    assert sharing.counts(path) == (1, 0, 2)
    assert snapshot(sharing.shared) == before


@pytest.mark.parametrize("top", ["./", "ktrdr-main/", "./shared/"])
def test_everything_may_lie_in_one_folder(sharing: Sharing, top: str) -> None:
    names = ["data/AAPL_1d.csv", "strategies/a.yaml", "README.md", "ktrdr/data/loader.py"]
    path = written(sharing.root, pack({top + name: name for name in names}))
    done = sharing.run(path)
    assert set(files_of(sharing.shared)) == {"data/AAPL_1d.csv", "strategies/a.yaml"}
    assert done.ignored == 2


def test_what_tar_itself_makes_of_a_folder(sharing: Sharing, source: Path) -> None:
    """Long names, a hard link, a link, holes, empty folders, nanoseconds."""
    long = source / "data" / "/".join(["deep" * 20] * 4) / f"{'x' * 200}.csv"
    write(long, "far\n")
    write(source / "data/caf\udce9.csv", "odd\n")
    os.link(source / "data/AAPL_1d.csv", source / "data/AAPL_again.csv")
    (source / "models/latest").symlink_to("momentum/v1")
    (source / "models/empty").mkdir()
    with (source / "models/sparse.bin").open("wb") as sparse:
        sparse.truncate(8 * 1024 * 1024)
        sparse.seek(5 * 1024 * 1024)
        sparse.write(b"middle")
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(source, arcname="ktrdr")
    done = sharing.run(written(sharing.root, packed(held.getvalue(), ".tar.zst")))
    assert files_of(sharing.shared) == {
        name: content for name, content in files_of(source).items() if name[:6] != "ktrdr/"
    }
    assert link_text(sharing.shared / "models/latest") == "momentum/v1"
    assert (sharing.shared / "models/empty").is_dir()
    copy = sharing.shared / "models/sparse.bin"
    assert copy.stat().st_blocks * 512 < 4 * 1024 * 1024
    assert done.left_out == []
    given, got = (source / "data/AAPL_1d.csv").stat(), (sharing.shared / "data/AAPL_1d.csv").stat()
    assert abs(given.st_mtime_ns - got.st_mtime_ns) < 1000, "tarfile itself writes a float"


def test_a_second_name_of_a_file(sharing: Sharing) -> None:
    members = [file("data/a.csv", "content"), link("data/b.csv", "data/a.csv", hard=True)]
    members = [file("data/a.csv", "an older one of this name"), *members]
    path = written(sharing.root, tar(members))
    assert sharing.run(path).copied.new == 2
    assert files_of(sharing.shared) == {"data/a.csv": b"content", "data/b.csv": b"content"}
    (sharing.shared / "data/b.csv").unlink()
    write(sharing.shared / "data/a.csv", "own, longer\n")
    done = sharing.run(path)
    assert (done.copied.new, done.kept) == (1, [Kept("data/a.csv", "changed")])
    assert files_of(sharing.shared)["data/b.csv"] == b"content", "not what was kept"


def test_a_dry_run_reads_and_writes_nothing(sharing: Sharing) -> None:
    path = written(sharing.root, pack())
    assert sharing.run(path, dry_run=True).copied.new == 3
    assert not sharing.home.root.exists()


def test_a_checksum(sharing: Sharing) -> None:
    path = written(sharing.root, pack())
    right = sha256_of(path)
    error = sharing.refused(path, sha256="0" * 64)
    assert error.code == "checksum-mismatch"
    assert error.details == {"source": str(path), "expected": "0" * 64, "found": right}
    assert not sharing.shared.exists()
    assert sharing.run(path, sha256=f"sha256:{right.upper()}").sha256 == right


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


EVIL = {
    "a name that goes up": ([file("../x")], "leads out of it"),
    "one that goes up inside": ([file("data/../../x")], "leads out of it"),
    "one that only could": ([file("data/../data/x")], "leads out of it"),
    "an absolute name": ([file("/etc/cron.d/x")], "leads out of it"),
    "a link out": ([link("data/x", "../../../etc")], "is a link that leads out of it"),
    "an absolute link": ([link("data/x", "/etc/passwd")], "is a link that leads out of it"),
    "a link beside the folders": ([link("data/x", "../other")], "is a link that leads out of it"),
    "a link to all of it": ([link("data/x", "..")], "is a link that leads out of it"),
    "a winding link": (
        [link("data/a/b/c", "../../../models"), link("data/a/b/d", "c/../../x")],
        "is a link that leads out of it",
    ),
    "a hard link out": ([link("data/x", "/etc/passwd", hard=True)], "leads out of it"),
    "a hard link to nothing": (
        [link("data/x", "data/nothing", hard=True)],
        "is a second name of something that is not in it",
    ),
    "a hard link to a link": (
        [link("data/l", "x"), link("data/x", "data/l", hard=True)],
        "is a second name of something that is not in it",
    ),
    "a file below a link": (
        [link("data/l", "../models"), file("data/l/x")],
        "lies below data/l, which is no folder",
    ),
    "a file below a file": (
        [file("data/f"), file("data/f/x")],
        "lies below data/f, which is no folder",
    ),
    "a folder that is a link": ([link("data", "/etc")], "lies below data, which is no folder"),
    "a folder that is a link inside": ([link("data", "models")], "lies below data, which is no"),
    "a folder that is a file": ([file("models")], "models is no folder"),
    "a device": ([file("data/x", b"", type=tarfile.CHRTYPE)], "is no file, folder or link"),
    "a disk": ([file("data/x", b"", type=tarfile.BLKTYPE)], "is no file, folder or link"),
    "a pipe": ([file("data/x", b"", type=tarfile.FIFOTYPE)], "is no file, folder or link"),
    "an unknown kind": ([file("data/x", b"", type=b"Z")], "is no file, folder or link"),
    "a name too long": ([file("data/" + "x" * 256)], "is no name for a file"),
    "signs that steer a terminal": (
        [file("../\x1b[2Jevil\n" + "y" * 300)],
        "../\\x1b[2Jevil\\nyyy",
    ),
    "a name too deep": ([file("data/" + "x/" * 100 + "y")], "is no name for a file"),
}


@pytest.mark.parametrize("what", EVIL)
def test_a_hostile_archive_changes_nothing(sharing: Sharing, what: str) -> None:
    sharing.run(written(sharing.root, pack()))
    before = snapshot(sharing.root)
    members, reason = EVIL[what]
    good = [file("data/AAPL_1d.csv", "worse\n"), file("data/good.csv")]
    path = written(sharing.root, tar([*good, *members, file("data/after")]), "evil")
    error = sharing.refused(path, overwrite=True)
    assert error.code == "archive-unsafe", error
    assert reason in error.message
    assert error.message.isprintable()
    assert len(error.message) < 300
    path.unlink()
    assert without_marks(snapshot(sharing.root)) == without_marks(before)


def without_marks(seen: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without the lock, which every run touches."""
    return {path: one for path, one in seen.items() if "/locks" not in path}


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.zst"])
def test_a_bomb_is_noticed_long_before_it_is_unpacked(sharing: Sharing, kind: str) -> None:
    size = 120 * 1024 * 1024
    info, _ = file("data/zeros.csv", b"")
    info.size = size
    content = packed(info.tobuf() + bytes(size + 1024), kind)
    assert len(content) < size // 500
    error = sharing.refused(written(sharing.root, content))
    assert error.code == "archive-unsafe"
    assert "it unpacks to more than 100 times its own size" in error.message
    assert "--from FOLDER" in error.hints[0]
    assert not sharing.shared.exists()


def test_a_sparse_member_that_claims_more_than_the_disk_has(sharing: Sharing) -> None:
    """A few bytes of header, an exabyte of holes."""
    info, _ = file("data/holes.csv", b"")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "data/holes.csv",
        "GNU.sparse.realsize": str(2**60),
    }
    table = f"1\n0\n{2**60}\n".encode().ljust(512, b"\0")
    info.size = len(table)
    path = written(sharing.root, tar([(info, table)]))
    error = sharing.refused(path)
    assert error.code == "cannot-write"
    assert error.message.startswith(f"Not enough room in {sharing.shared}:")
    assert files_of(sharing.shared) == {}


def test_a_header_that_would_fill_the_memory(sharing: Sharing) -> None:
    info = tarfile.TarInfo("data/x")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 7 * 1024**3
    head = info.tobuf(tarfile.GNU_FORMAT)
    error = sharing.refused(written(sharing.root, head + bytes(4096)))
    assert error.code == "archive-unsafe"
    assert "it has a header of" in error.message


def test_headers_that_nest_without_end(sharing: Sharing) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 5
    block = info.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")
    error = sharing.refused(written(sharing.root, block * 5000 + bytes(1024)))
    assert error.code == "archive-damaged"


def test_more_members_than_any_pack_has(sharing: Sharing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 100)
    path = written(sharing.root, tar(file(f"data/{n}.csv", "x") for n in range(101)))
    error = sharing.refused(path)
    assert error.code == "archive-unsafe"
    assert "it has more than 100 members" in error.message


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_anywhere_it_is_refused(sharing: Sharing, kind: str) -> None:
    sharing.run(written(sharing.root, pack()))
    before = files_of(sharing.shared)
    content = pack({"data/new.csv": os.urandom(3000), "data/AAPL_1d.csv": "worse"}, kind=kind)
    # A tar may end with one block of zeros or with many: what is needed is one.
    longest = len(content) if kind != ".tar" else 512 + 3072 + 512 + 512
    for length in range(513, longest, 97):
        path = written(sharing.root, content[:length], "cut")
        error = sharing.refused(path, overwrite=True)
        assert error.code in ("archive-damaged", "source-unusable"), (length, error)
        assert files_of(sharing.shared) == before, length


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.zst"])
def test_a_flipped_bit_is_refused(sharing: Sharing, kind: str) -> None:
    """A checksum is at the end of either kind: nothing is written before it was read."""
    content = pack({"data/new.csv": os.urandom(3000)}, kind=kind)
    if kind == ".tar.zst":
        options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
        content = zstd.compress(tar([file("data/new.csv", os.urandom(3000))]), options=options)
    for place in range(40, len(content), 211):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        path = written(sharing.root, bytes(flipped), "flipped")
        error = sharing.refused(path)
        assert error.code in ("archive-damaged", "archive-unsafe"), (place, error)
        assert not sharing.shared.exists() or files_of(sharing.shared) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", b"\x1f\x8b", b"x" * 2000, pack({"src/main.py": "x"})],
)
def test_what_is_no_archive(sharing: Sharing, content: bytes) -> None:
    error = sharing.refused(written(sharing.root, content))
    assert error.code in ("source-unusable", "archive-damaged")
    assert not sharing.shared.exists()


def test_numbers_that_make_no_sense(sharing: Sharing) -> None:
    """Sizes, times and permissions out of all bounds."""
    strange = [
        file("data/old.csv", "x", mtime=-(2**33)),
        file("data/new.csv", "x", mtime=2**60),
        file("data/none.csv", "x", mode=0),
        file("data/all.csv", "x", mode=0o7777),
    ]
    sharing.run(written(sharing.root, tar(strange, format=tarfile.GNU_FORMAT)))
    modes = {
        path.name: path.stat().st_mode & 0o7777 for path in (sharing.shared / "data").iterdir()
    }
    assert modes == {"old.csv": 0o644, "new.csv": 0o644, "none.csv": 0o400, "all.csv": 0o777}
    negative = bytearray(tar([file("data/x", "x")], format=tarfile.GNU_FORMAT))
    negative[124:136] = b"\xff" * 4 + struct.pack(">q", -512)
    total = sum(negative[:148]) + sum(negative[156:512]) + 8 * 32
    negative[148:156] = f"{total:06o}\0 ".encode()
    error = sharing.refused(written(sharing.root, bytes(negative)))
    assert error.code in ("archive-damaged", "archive-unsafe")


def test_an_archive_that_changes_while_it_is_read(sharing: Sharing) -> None:
    """Between looking and unpacking: what is unpacked by then is whole, the rest is refused."""
    path = written(sharing.root, pack(kind=".tar"), "pack.tar")

    def cut(progress: Progress) -> None:
        if progress.stage == "copying":
            path.write_bytes(path.read_bytes()[:1024])

    sharing.observe = cut
    assert sharing.refused(path).code == "archive-damaged"
    assert set(files_of(sharing.shared)) <= {"data/AAPL_1d.csv", "models/momentum/v1/weights.bin"}
