"""Lets init-shared begin to read while the program is still being loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.shared_data.ahead import Between
from ktrdr_sandbox.shared_data.ahead import reading as reading_between


@contextmanager
def reading(source: str) -> Iterator[None]:
    """For the block, read a folder as a source, and then what this home shares.

    What cannot be read is the command's to find out and to tell.
    """
    with ExitStack() as stack:
        with suppress(OSError, SandboxError):
            root = source_path(Path.cwd(), source)
            if root.is_dir():
                stack.enter_context(reading_between(between(Home.from_environment(), root)))
        yield


def between(home: Home, root: Path) -> Between:
    """A source, and what of a home a copy has to do with."""
    return Between(root, home.shared, home.shared_manifest)


def source_path(cwd: Path, given: str | Path) -> Path:
    """What a path given with --from means. Where `~` means nobody it is a name like any other."""
    return cwd / os.path.expanduser(given)  # noqa: PTH111  a Path would raise
