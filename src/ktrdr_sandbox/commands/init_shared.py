"""init-shared: fills the folders that all instances share, from wherever the data is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox import process
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, make_folder
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home, pack_folder
from ktrdr_sandbox.shared.apply import Applier
from ktrdr_sandbox.shared.archive import opened_archive
from ktrdr_sandbox.shared.download import Download, identity_of, shown_url
from ktrdr_sandbox.shared.inventory import take_inventory
from ktrdr_sandbox.shared.layout import (
    SEED_FOLDER,
    SEED_TIME_NS,
    is_below,
    link_folders,
    make_shared_folders,
    refuse_linked,
)
from ktrdr_sandbox.shared.manifest import SEED_KIND, Manifest, Origin
from ktrdr_sandbox.shared.plan import Planner
from ktrdr_sandbox.shared.results import Copied, InitSharedResult, Observer, Progress
from ktrdr_sandbox.shared.source import FolderSource, Listing, Stage, kinds_in

LOCK_PATIENCE: Final = 600.0
"""Seconds: another run may be copying gigabytes, and this one then finds nothing to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What init-shared is asked for. `stall`: seconds in which a download may bring nothing."""

    source: Path | None = None
    minimal: bool = False
    url: str | None = None
    sha256: str | None = None
    link: bool = False
    overwrite: bool = False
    dry_run: bool = False
    stall: float = 30.0


def init_shared(
    home: Home, request: Request, *, tell: Callable[[str], None], observe: Observer
) -> InitSharedResult:
    """Fill the shared folder. Safe to repeat; an interrupted run is gone on with.

    Raises what an archive, a download, a lock and a shared folder can raise, and `usage`.
    """
    began = time.monotonic()
    request = _checked(request)
    result = InitSharedResult(
        source="", destination=str(home.shared), dry_run=request.dry_run, sha256=request.sha256
    )
    lock = hold(home.shared_lock, purpose="init-shared", patience=LOCK_PATIENCE, tell=tell)
    with nullcontext() if request.dry_run else lock:
        _Run(home, request, tell, observe, result).run()
    if not request.dry_run and (result.copied != Copied() or result.linked):
        result.shared = take_inventory(home.shared)
    result.seconds = round(time.monotonic() - began, 3)
    return result


def _usage(message: str, *hints: str, **details: str) -> SandboxError:
    return SandboxError("usage", message, hints=hints, details=details)


def _checked(request: Request) -> Request:
    """Refuse what does not go together; return it with the checksum as bare digits."""
    if sum([request.source is not None, request.minimal, request.url is not None]) != 1:
        raise _usage(
            "Say what to fill the shared folder with: one of --from, --minimal and --url.",
            "The seed pack that comes with the program: --minimal",
        )
    if request.link and (request.source is None or request.overwrite):
        raise _usage("--link goes with --from only, and copies nothing to overwrite with.")
    if request.sha256 is None:
        return request
    digits = request.sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise _usage(f"'{request.sha256}' is no SHA-256: it has 64 hexadecimal digits.")
    return replace(request, sha256=digits)


@dataclass(slots=True)
class _Run:
    home: Home
    request: Request
    tell: Callable[[str], None]
    observe: Observer
    result: InitSharedResult

    def run(self) -> None:
        request = self.request
        if request.url is not None:
            self._from_url(request.url)
        elif request.source is None:
            self._from_folder(SEED_FOLDER, Origin(SEED_KIND, "seed pack"), SEED_TIME_NS)
        else:
            # Where `~` means nobody it is a name like any other.
            source = Path(os.path.expanduser(request.source)).absolute()  # noqa: PTH111
            if source.is_file():
                self._from_file(source)
            else:
                self._from_folder(source, Origin("folder", os.path.realpath(source)))

    def _from_folder(self, root: Path, origin: Origin, time_ns: int | None = None) -> None:
        if self.request.sha256 is not None:
            raise _usage("--sha256 goes with --url, or with an archive.")
        kinds = kinds_in(root)
        self._refuse_overlap(root, kinds)
        self.observe(Progress("looking"))
        if self.request.link:
            targets = {kind: os.path.realpath(root / kind) for kind in kinds}
            count = link_folders(self.home, targets, dry_run=self.request.dry_run)
            result = self.result
            result.source, result.linked, result.unchanged = str(root), targets, count
        else:
            folder = FolderSource(root, _copy_tree, time_ns)
            self._fill(origin, folder.list_files(), folder.stage)

    def _refuse_overlap(self, root: Path, kinds: list[str]) -> None:
        for kind in kinds:
            source, place = os.path.realpath(root / kind), self.home.shared / kind
            # A link that is there gives way to the new one: where it leads does not matter then.
            target = os.path.realpath(place.parent if self.request.link else place)
            target = f"{target}/{kind}" if self.request.link else target
            if is_below(source, target) or is_below(target, source):
                message = f"{root / kind} and {place} are the same folder, or one is in the other."
                hint = "Give a folder that lies somewhere else."
                raise _usage(message, hint, source=source, destination=target)

    def _from_file(self, path: Path) -> None:
        if self.request.link:
            raise _usage(f"--link needs a folder, and {path} is a file.")
        self._unpack(path, str(path), Origin("archive", os.path.realpath(path)))

    def _unpack(self, path: Path, name: str, origin: Origin) -> None:
        with opened_archive(path, name) as archive:
            if self.request.sha256 is not None or origin.kind == "url":
                self.result.sha256 = _checked_sha256(name, path, self.request.sha256)
            self._fill(origin, archive.list_files(self.observe), archive.stage)

    def _from_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _usage(f"'{url}' is no address: {error}.") from error
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            self._from_file(Path(unquote(parts.path)))
            return
        if parts.scheme not in ("http", "https") or not parts.hostname:
            schemes = "https://, http:// or file:///"
            raise _usage(f"Cannot fetch '{url}': give an address that begins with {schemes}.")
        if self.request.dry_run:
            hint = "Fetch it with curl -O, and try --from FILE --dry-run."
            raise _usage("--dry-run cannot look into a pack that is not here yet.", hint)
        cache = pack_folder()
        make_folder(cache, mode=0o700)
        lock = cache / f"{identity_of(url)}.lock"  # another KTRDR_HOME may fetch it too
        download = Download(url, self.request.sha256, self.request.stall, cache, self.observe)
        with hold(lock, purpose="init-shared --url", patience=LOCK_PATIENCE, tell=self.tell):
            download.fetch()
            origin = Origin("url", shown_url(url), identity_of(url))
            try:
                self._unpack(download.path, origin.name, origin)
            except SandboxError as error:
                if error.code.startswith(("archive-", "checksum-", "source-")):  # it is no good
                    download.forget()
                raise
            download.forget()

    def _fill(self, origin: Origin, listing: Listing, stage: Stage) -> None:
        shared, result = self.home.shared, self.result
        refuse_linked(shared, listing.folders)
        if not self.request.dry_run:
            make_shared_folders(self.home)
        manifest = Manifest.load(self.home.shared_manifest, tell=self.tell)
        number = manifest.number_of(origin)
        result.source, result.ignored = origin.name, listing.ignored
        result.left_out = listing.left_out
        try:
            plan = Planner(shared, manifest, number, self.request.overwrite).plan(listing)
            result.kept, result.unchanged = plan.kept, plan.unchanged
            if self.request.dry_run:
                result.copied = plan.counts()
            else:
                Applier(shared, plan, manifest, number, result, self.observe).apply(stage)
        except OSError as error:
            failure = cannot_write(shared, error)
            whole = "What is there is whole; the same command goes on from it."
            failure.hints = (*failure.hints, whole)
            raise failure from error


def _checked_sha256(name: str, path: Path, expected: str | None) -> str:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected not in (None, found):
        message = f"its SHA-256 is {found}, not {expected}"
        raise SandboxError(
            "checksum-mismatch",
            f"{name} is not the file that was expected: {message}.",
            hints=("Nothing was unpacked. Check the address and the checksum.",),
            details={"source": name, "expected": expected, "found": found},
        )
    return found


def _copy_tree(source: str, target: Path, look: Callable[[], None]) -> None:
    """Copy what is in a folder with the platform's cp, as far as that goes."""
    if (copier := shutil.which("cp")) is None:
        return
    environment = process.current_environment()
    version = process.run([copier, "--version"], environment=environment).stdout
    # Second names of a file as such do not come along: what writes to one would change both.
    known = ("--reflink=auto", "--no-preserve=links") if "coreutils" in version else ()
    argv = [copier, "-av", *known, f"{source}/.", str(target)]
    process.stream(argv, environment=environment, sink=lambda _: look(), keep=1)
