"""init-shared: fills the folders that all instances share, from wherever the data is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ktrdr_sandbox.commands.ahead import between, source_path
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home
from ktrdr_sandbox.shared_data.ahead import take

if TYPE_CHECKING:
    from ktrdr_sandbox.shared_data.holdings import Inventory
    from ktrdr_sandbox.shared_data.results import Filling, Observer


class Place(NamedTuple):
    """Where it works: with the home, but with nothing that this knows of instances.

    `tell` takes a sentence for the user.
    """

    home: Home
    cwd: Path
    tell: Callable[[str], None]


LOCK_PATIENCE: Final = 600.0
"""Seconds: another run may be copying gigabytes, and this one then finds nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What init-shared is asked for. Exactly one of `source`, `minimal` and `url`.

    `stall`: seconds in which nothing may come, before a download is tried again.
    """

    source: Path | None = None
    minimal: bool = False
    url: str | None = None
    sha256: str | None = None
    link: bool = False
    overwrite: bool = False
    dry_run: bool = False
    stall: float = 30.0


def holdings(place: Place) -> Inventory:
    """What the shared folder holds."""
    from ktrdr_sandbox.shared_data import inventory  # not where nothing was copied

    return inventory.take(place.home.shared)


def init_shared(place: Place, wanted: Wanted, *, observe: Observer) -> Filling:
    """Fill the shared folder. Safe to repeat; an interrupted run is gone on with.

    Raises `usage`, `source-missing`, `source-unusable`, `archive-unsafe`, `archive-damaged`,
    `checksum-mismatch`, `download-failed`, `shared-folder-linked`, `would-lose-work`,
    `cannot-write`, `lock-timeout`.
    """
    began = time.monotonic()
    _check_usage(wanted)
    wanted = replace(wanted, sha256=_checksum(wanted.sha256))
    begun = None
    if wanted.source is not None:
        begun = take(between(place.home, source_path(place.cwd, wanted.source)))
    from ktrdr_sandbox.commands.filling import Run  # while that is being read

    run = Run(place, wanted, observe, ahead=begun)
    done = run.look()
    if done is None:
        with hold(
            place.home.shared_lock,
            purpose="init-shared",
            patience=LOCK_PATIENCE,
            tell=place.tell,
        ):
            done = run.fill()
    return replace(done, seconds=time.monotonic() - began)


def _check_usage(wanted: Wanted) -> None:
    given = [wanted.source is not None, wanted.minimal, wanted.url is not None]
    if sum(given) != 1:
        raise SandboxError(
            "usage",
            "Say what to fill the shared folder with: one of --from, --minimal and --url.",
            hints=("The seed pack that comes with the program: --minimal",),
        )
    if wanted.link and wanted.source is None:
        raise SandboxError("usage", "--link goes with --from only.")
    if wanted.link and wanted.overwrite:
        raise SandboxError("usage", "--link copies nothing, so there is nothing to overwrite.")
    if wanted.sha256 is not None and wanted.minimal:
        raise SandboxError("usage", "--sha256 goes with --url, or with an archive.")


def _checksum(text: str | None) -> str | None:
    """64 hexadecimal digits, with or without `sha256:` before them."""
    if text is None:
        return None
    digits = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise SandboxError("usage", f"'{text}' is no SHA-256: it has 64 hexadecimal digits.")
    return digits
