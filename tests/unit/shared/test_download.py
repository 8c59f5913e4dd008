"""Packs over HTTP, from a real server that does what servers do."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from ktrdr_sandbox.paths import pack_folder
from ktrdr_sandbox.shared.download import identity_of
from ktrdr_sandbox.shared.results import Kept
from tests.support.pack_server import Fault, PackServer, serving
from tests.support.packs import file, pack, tar, written
from tests.support.trees import files_of, snapshot, write
from tests.unit.shared.runs import Sharing

WEIGHTS = random.Random(3).randbytes(3 * 1024 * 1024)
CONTENT = pack({"data/AAPL_1d.csv": "timestamp\n", "models/weights.bin": WEIGHTS})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
STALL = 0.4


@pytest.fixture
def server() -> Iterator[PackServer]:
    with serving(PackServer(CONTENT)) as running:
        yield running


def is_complete(sharing: Sharing) -> bool:
    return files_of(sharing.shared) == {
        "data/AAPL_1d.csv": b"timestamp\n",
        "models/weights.bin": WEIGHTS,
    }


def cached() -> set[str]:
    """What lies in the cache, but for locks."""
    folder = pack_folder()
    return {path.suffix for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_pack_is_fetched_and_unpacked(sharing: Sharing, server: PackServer) -> None:
    done = sharing.run(url=server.url, stall=STALL)
    assert is_complete(sharing)
    assert (done.copied.new, done.sha256, done.source) == (2, SHA256, server.url)
    stages = [one.stage for one in sharing.progress]
    assert stages == sorted(stages, key=["downloading", "checking", "copying"].index)
    last = [one for one in sharing.progress if one.stage == "downloading"][-1]
    assert last.size == last.total == len(CONTENT)
    assert cached() == set(), "gigabytes are not kept twice"
    assert sharing.counts(url=server.url, stall=STALL) == (0, 0, 2)


def test_a_changed_pack_is_fetched_and_what_changed_in_it_is_replaced(
    sharing: Sharing, server: PackServer
) -> None:
    sharing.run(url=server.url, stall=STALL)
    write(sharing.shared / "models/weights.bin", "own\n")
    server.etag = '"two"'
    server.content = tar([file("data/AAPL_1d.csv", "longer\n" * 9), file("models/weights.bin", "")])
    done = sharing.run(url=server.url, stall=STALL)
    assert (done.copied.replaced, done.kept) == (1, [Kept("models/weights.bin", "changed")])
    assert (sharing.shared / "data/AAPL_1d.csv").read_text() == "longer\n" * 9


def test_a_file_address(sharing: Sharing) -> None:
    (sharing.root / "a folder").mkdir()
    path = written(sharing.root / "a folder", CONTENT)
    done = sharing.run(url=path.as_uri(), sha256=SHA256)
    assert (done.copied.new, done.sha256) == (2, SHA256)
    assert sharing.refused(url=f"{path.as_uri()}.no").code == "source-missing"
    assert sharing.refused(url=path.as_uri(), sha256="0" * 64).code == "checksum-mismatch"


def test_a_connection_that_drops_is_gone_on_with(sharing: Sharing, server: PackServer) -> None:
    server.faults = [Fault(drop_after=1_000_000), Fault(stall_after=700_000), None]
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2
    assert is_complete(sharing)
    assert [one.get("range") for one in server.asked] == [
        None,
        "bytes=1000000-",
        "bytes=1700000-",
    ]
    assert all(one["if-range"] == '"one"' for one in server.asked[1:])
    assert server.sent == len(CONTENT), "no byte came twice"


@pytest.mark.parametrize("fault", [Fault(drop_after=0), Fault(stall_after=0), Fault(status=503)])
def test_one_that_never_brings_anything_is_an_error(
    sharing: Sharing, server: PackServer, fault: Fault
) -> None:
    server.faults = [fault] * 20
    error = sharing.refused(url=server.url, stall=STALL)
    assert error.code == "download-failed"
    assert error.message.startswith(f"Cannot fetch {server.url}: ")
    assert len(server.asked) == 4
    assert not sharing.shared.exists()


def test_the_next_run_goes_on_where_the_last_one_broke_off(
    sharing: Sharing, server: PackServer
) -> None:
    server.faults = [Fault(drop_after=1_000_000), *[Fault(drop_after=0)] * 20]
    error = sharing.refused(url=server.url, stall=STALL)
    assert error.hints == ("The same command goes on after the 1,000,000 bytes that are there.",)
    assert error.details["bytes"] == 1_000_000
    server.faults = []
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2
    assert is_complete(sharing)
    assert server.sent == len(CONTENT)


def test_halves_of_two_packs_are_never_joined(sharing: Sharing, server: PackServer) -> None:
    server.faults = [Fault(drop_after=1_000_000), *[Fault(drop_after=0)] * 20]
    sharing.refused(url=server.url, stall=STALL)
    server.faults, server.etag = [], '"two"'
    server.content = pack({"data/AAPL_1d.csv": "two\n", "models/weights.bin": WEIGHTS[::-1]})
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2
    assert (sharing.shared / "models/weights.bin").read_bytes() == WEIGHTS[::-1]


def test_without_a_validator_it_begins_anew(sharing: Sharing, server: PackServer) -> None:
    server.etag = None
    server.faults = [Fault(drop_after=1_000_000)]
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2
    assert "range" not in server.asked[1]
    server.etag, server.ranges, server.faults = '"two"', False, [Fault(drop_after=1_000_000)]
    assert sharing.run(url=server.url, stall=STALL).unchanged == 2
    assert is_complete(sharing)


def test_without_a_validator_a_checksum_will_do(sharing: Sharing, server: PackServer) -> None:
    server.etag = None
    server.faults = [Fault(drop_after=1_000_000)]
    assert sharing.run(url=server.url, sha256=SHA256, stall=STALL).copied.new == 2
    assert server.asked[1]["range"] == "bytes=1000000-"
    assert server.sent == len(CONTENT)


def test_a_pack_that_was_all_there_when_the_last_run_ended(
    sharing: Sharing, server: PackServer
) -> None:
    """Killed between fetching and unpacking: the server has nothing more to send."""
    server.faults = [Fault(drop_after=1_000_000), *[Fault(drop_after=0)] * 20]
    sharing.refused(url=server.url, stall=STALL)
    (pack_folder() / f"{identity_of(server.url)}.part").write_bytes(CONTENT)
    server.faults = []
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2
    assert server.sent == 1_000_000


@pytest.mark.parametrize("status", [401, 404])
def test_an_answer_that_says_no(sharing: Sharing, server: PackServer, status: int) -> None:
    sharing.run(url=server.url, stall=STALL)
    before = snapshot(sharing.shared)
    server.faults = [Fault(status=status)] * 9
    error = sharing.refused(url=server.url, overwrite=True, stall=STALL)
    assert error.code == "download-failed"
    assert f"the server answers {status} " in error.message
    assert len(server.asked) == 2, "it is not asked again"
    assert snapshot(sharing.shared) == before


def test_a_page_instead_of_a_pack(sharing: Sharing, server: PackServer) -> None:
    """What a proxy that wants a password answers, with 200."""
    sharing.run(url=server.url, stall=STALL)
    before = snapshot(sharing.shared)
    server.faults = [Fault(page=True)]
    error = sharing.refused(url=server.url, overwrite=True, stall=STALL)
    assert error.code == "source-unusable"
    assert error.message == f"{server.url} is no .tar, .tar.gz or .tar.zst archive."
    assert snapshot(sharing.shared) == before
    assert sharing.run(url=server.url, overwrite=True, stall=STALL).unchanged == 2


def test_a_wrong_checksum_unpacks_nothing(sharing: Sharing, server: PackServer) -> None:
    error = sharing.refused(url=server.url, sha256="0" * 64, stall=STALL)
    assert error.code == "checksum-mismatch"
    assert error.details["found"] == SHA256
    assert not sharing.shared.exists()
    assert cached() == set(), "the next run asks for it anew"


@pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) // 2, 600])
def test_a_pack_that_is_cut_off_on_the_server(
    sharing: Sharing, server: PackServer, length: int
) -> None:
    server.content = CONTENT[:length]
    error = sharing.refused(url=server.url, stall=STALL)
    assert error.code == "archive-damaged"
    assert not sharing.shared.exists()
    assert cached() == set()
    server.content = CONTENT
    assert sharing.run(url=server.url, stall=STALL).copied.new == 2


def test_secrets_of_an_address_are_written_nowhere(sharing: Sharing, server: PackServer) -> None:
    secret = f"http://user:hunter2@127.0.0.1:{server.port}/packs/pack.tar.gz?sig=s3cr3t"
    done = sharing.run(url=secret, stall=STALL)
    assert done.source == server.url
    assert server.asked[0]["authorization"].startswith("Basic ")
    server.faults = [Fault(status=404)]
    error = sharing.refused(url=secret, overwrite=True, stall=STALL)
    said = repr(error.message) + repr(error.details) + repr(sharing.told)
    assert "hunter2" not in said
    assert "s3cr3t" not in said
    assert pack_folder().stat().st_mode & 0o077 == 0
    for path in (*sharing.home.root.rglob("*"), *pack_folder().rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            assert b"hunter2" not in content, path
            assert b"s3cr3t" not in content, path
