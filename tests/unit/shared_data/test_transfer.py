"""One file's bytes: by the kernel, by reading and writing, with holes, from streams."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrdr_sandbox.shared_data.transfer import (
    CHUNK,
    SMALL,
    Descriptor,
    SourceError,
    Transfer,
    equals_stream,
    write_stream,
)

SIZES = [0, 1, SMALL, SMALL + 1, CHUNK, CHUNK + 1, 2 * CHUNK + 12345]


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def pair(folder: Path, content: bytes) -> Iterator[tuple[int, int]]:
    """A source with that content, and an empty target."""
    (folder / "source").write_bytes(content)
    with (
        opened(folder / "source") as source,
        opened(folder / "target", os.O_RDWR | os.O_CREAT | os.O_TRUNC) as target,
    ):
        yield source, target


def transfer(how: str) -> Transfer:
    """One that has found out what the file systems refuse."""
    made = Transfer()
    if how != "shared":
        made._clones = False
    if how == "written":
        made._kernel = False
    return made


@pytest.mark.parametrize("how", ["shared", "kernel", "written"])
@pytest.mark.parametrize("size", SIZES)
def test_every_byte(tmp_path: Path, how: str, size: int) -> None:
    content = os.urandom(size)
    ticks: list[int] = []
    with pair(tmp_path, content) as (source, target):
        done = transfer(how).copy(source, target, size, holes=False, tick=ticks.append)
    assert (tmp_path / "target").read_bytes() == content
    assert done == sum(ticks) == size


@pytest.mark.parametrize("how", ["kernel", "written"])
def test_holes(tmp_path: Path, how: str) -> None:
    size = 64 * 1024 * 1024
    with pair(tmp_path, b"") as (source, target), (tmp_path / "source").open("r+b") as file:
        for place, text in ((0, b"begin"), (30_000_000, b"x" * 70_000), (50_000_001, b"end")):
            file.seek(place)
            file.write(text)
        file.truncate(size)
        transfer(how).copy(source, target, size, holes=True, tick=lambda _: None)
        assert os.fstat(target).st_blocks * 512 < 1_000_000
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()


@pytest.mark.parametrize("content", [b"", b"\0" * 5_000_000])
def test_nothing_but_a_hole(tmp_path: Path, content: bytes) -> None:
    with pair(tmp_path, b"") as (source, target):
        os.truncate(tmp_path / "source", len(content))
        Transfer().copy(source, target, len(content), holes=True, tick=lambda _: None)
    assert (tmp_path / "target").read_bytes() == content


@pytest.mark.parametrize("claimed", [0, 10, SMALL + 5])
def test_a_file_that_grew_or_shrank_is_copied_as_it_is(tmp_path: Path, claimed: int) -> None:
    for actual in (b"", b"x" * 5000, b"y" * (SMALL + 5000)):
        with pair(tmp_path, actual) as (source, target):
            Transfer().copy(source, target, claimed, holes=False, tick=lambda _: None)
        assert (tmp_path / "target").read_bytes() == actual


@pytest.mark.parametrize("size", [10, SMALL + 1])
def test_a_source_that_cannot_be_read(tmp_path: Path, size: int) -> None:
    """A folder opens like a file, and reading it fails."""
    with (
        opened(tmp_path) as source,
        opened(tmp_path / "t", os.O_RDWR | os.O_CREAT) as target,
        pytest.raises(SourceError, match="Is a directory"),
    ):
        Transfer().copy(source, target, size, holes=False, tick=lambda _: None)


@pytest.mark.parametrize("size", [10, SMALL + 1, CHUNK * 2])
def test_a_target_that_takes_no_more(tmp_path: Path, size: int) -> None:
    (tmp_path / "source").write_bytes(bytes(size))
    with (
        opened(tmp_path / "source") as source,
        opened(Path("/dev/full"), os.O_RDWR) as full,
        pytest.raises(OSError, match="No space left"),
    ):
        Transfer().copy(source, full, size, holes=False, tick=lambda _: None)


def test_an_interrupt_is_heard_between_chunks(tmp_path: Path) -> None:
    def stop(_size: int) -> None:
        raise KeyboardInterrupt

    with pair(tmp_path, bytes(3 * CHUNK)) as (source, target):
        with pytest.raises(KeyboardInterrupt):
            transfer("kernel").copy(source, target, 3 * CHUNK, holes=False, tick=stop)
        assert os.fstat(target).st_size == CHUNK


def test_a_stream_with_zeros_leaves_holes(tmp_path: Path) -> None:
    content = b"a" * 100 + bytes(9_000_000) + b"b" * 100
    with opened(tmp_path / "t", os.O_RDWR | os.O_CREAT) as target:
        write_stream(io.BytesIO(content), target, len(content), tick=lambda _: None)
        assert os.fstat(target).st_blocks * 512 < 3_000_000
    assert (tmp_path / "t").read_bytes() == content


def test_a_stream_that_ends_early(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "t", os.O_RDWR | os.O_CREAT) as target,
        pytest.raises(SourceError, match="ends too early"),
    ):
        write_stream(io.BytesIO(b"short"), target, 10, tick=lambda _: None)


@pytest.mark.parametrize(
    ("other", "same"),
    [(b"content", True), (b"Content", False), (b"conten", False), (b"content!", False)],
)
def test_comparing(tmp_path: Path, other: bytes, same: bool) -> None:
    with pair(tmp_path, b"content") as (source, target):
        os.write(target, other)
        assert equals_stream(Descriptor(source), target, 7, tick=lambda _: None) is same
