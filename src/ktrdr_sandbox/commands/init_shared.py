"""init-shared: fills the folders that all instances share, from wherever the data is."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox.durable import make_folder
from ktrdr_sandbox.engine import process
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home, pack_folder
from ktrdr_sandbox.shared.apply import Applier, Contents, Outcome, cannot_fill
from ktrdr_sandbox.shared.archive import Archive
from ktrdr_sandbox.shared.download import Download, check_sha256, identity_of, shown_url
from ktrdr_sandbox.shared.inventory import Inventory, take_inventory
from ktrdr_sandbox.shared.layout import (
    SEED_FOLDER,
    SEED_TIME_NS,
    is_below,
    link_folders,
    make_shared_folders,
    refuse_linked,
)
from ktrdr_sandbox.shared.manifest import SEED_KIND, Manifest, Origin
from ktrdr_sandbox.shared.plan import Kept, Observer, Plan, Planner, Progress
from ktrdr_sandbox.shared.source import LeftOut, Listing, kinds_in, list_folder

LOCK_PATIENCE: Final = 600.0
"""Seconds: another run may be copying gigabytes, and this one then finds nothing to do."""
_LOOKING: Final = 1.0
"""Seconds between two looks at how far the copier is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied, or would be. `bytes` are those of the files."""

    files: int = 0
    new: int = 0
    replaced: int = 0
    bytes: int = 0
    links: int = 0
    folders: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InitSharedResult:
    """One run of init-shared. `linked` are whole folders that are used where they lie.

    `shared` is None where nothing has changed: looking through it would take as long as the run.
    """

    source: str
    destination: str
    dry_run: bool
    copied: Copied = Copied()
    unchanged: int = 0
    kept: list[Kept] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    linked: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    sha256: str | None = None
    seconds: float = 0.0
    shared: Inventory | None = None

    @property
    def failures(self) -> int:
        """How many items should have been copied and were not."""
        return sum(one.failed for one in self.left_out)


def init_shared(
    home: Home, request: Request, *, tell: Callable[[str], None], observe: Observer
) -> InitSharedResult:
    """Fill the shared folder. Safe to repeat; an interrupted run is gone on with.

    Raises `usage`, `source-missing`, `source-unusable`, `archive-unsafe`, `archive-damaged`,
    `checksum-mismatch`, `download-failed`, `shared-folder-linked`, `would-lose-work`,
    `cannot-write`, `lock-timeout`.
    """
    began = time.monotonic()
    request = _checked(request)
    lock = hold(home.shared_lock, purpose="init-shared", patience=LOCK_PATIENCE, tell=tell)
    with nullcontext() if request.dry_run else lock:
        done = _Run(home, request, tell, observe).run()
    is_changed = not request.dry_run and (done.copied != Copied() or done.linked)
    return replace(
        done,
        seconds=round(time.monotonic() - began, 3),
        shared=take_inventory(home.shared) if is_changed else None,
    )


def _usage(message: str, *hints: str, **details: str) -> SandboxError:
    return SandboxError("usage", message, hints=hints, details=details)


def _checked(request: Request) -> Request:
    """Refuse what does not go together; return it with the checksum as bare digits."""
    if sum([request.source is not None, request.minimal, request.url is not None]) != 1:
        raise _usage(
            "Say what to fill the shared folder with: one of --from, --minimal and --url.",
            "The seed pack that comes with the program: --minimal",
        )
    if request.link and request.source is None:
        raise _usage("--link goes with --from only.")
    if request.link and request.overwrite:
        raise _usage("--link copies nothing, so there is nothing to overwrite.")
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

    def run(self) -> InitSharedResult:
        request = self.request
        if request.url is not None:
            return self._from_url(request.url)
        if request.source is None:
            return self._from_folder(SEED_FOLDER, Origin(SEED_KIND, "seed pack", {}), SEED_TIME_NS)
        # Where `~` means nobody it is a name like any other.
        source = Path(os.path.expanduser(request.source)).absolute()  # noqa: PTH111
        if source.is_file():
            return self._from_file(source)
        return self._from_folder(source, Origin("folder", os.path.realpath(source), {}))

    def _from_folder(
        self, root: Path, origin: Origin, time_ns: int | None = None
    ) -> InitSharedResult:
        if self.request.sha256 is not None:
            raise _usage("--sha256 goes with --url, or with an archive.")
        kinds = kinds_in(root)
        self._refuse_overlap(root, kinds)
        if self.request.link:
            return self._link(root, kinds)
        self._prepare(kinds)
        self.observe(Progress("looking"))
        listing = list_folder(root, forbidden=self.home.shared, fixed_time_ns=time_ns)
        return self._fill(origin, listing)

    def _refuse_overlap(self, root: Path, kinds: list[str]) -> None:
        for kind in kinds:
            source, place = os.path.realpath(root / kind), self.home.shared / kind
            # A link that is there gives way to the new one: where it leads does not matter then.
            around = f"{os.path.realpath(self.home.shared)}/{kind}"
            target = around if self.request.link else os.path.realpath(place)
            if is_below(source, target) or is_below(target, source):
                raise _usage(
                    f"{root / kind} and {place} are the same folder, or one is in the other.",
                    "Give a folder that lies somewhere else.",
                    source=source,
                    destination=target,
                )

    def _link(self, root: Path, kinds: list[str]) -> InitSharedResult:
        targets = {kind: os.path.realpath(root / kind) for kind in kinds}
        unchanged = link_folders(self.home.shared, targets, dry_run=self.request.dry_run)
        if not self.request.dry_run:
            make_shared_folders(self.home)
        return replace(self._result(str(root)), unchanged=unchanged, linked=targets)

    def _from_file(self, path: Path) -> InitSharedResult:
        if self.request.link:
            raise _usage(f"--link needs a folder, and {path} is a file.")
        expected = self.request.sha256
        sha256 = None if expected is None else check_sha256(path, expected, str(path))
        origin = Origin("archive", os.path.realpath(path), {})
        return replace(self._unpack(path, str(path), origin), sha256=sha256)

    def _unpack(self, path: Path, name: str, origin: Origin) -> InitSharedResult:
        try:
            raw = path.open("rb")
        except OSError as error:
            message = f"Cannot read {name}: {error.strerror}."
            raise SandboxError("source-missing", message, details={"source": name}) from error
        total = path.stat().st_size
        with raw:
            archive = Archive(name, raw)
            with archive.told():
                listing = archive.list_members(
                    lambda read: self.observe(Progress("checking", read, total))
                )
                self._prepare(listing.kinds)
                return self._fill(replace(origin, name=name), listing, archive.contents)

    def _from_url(self, url: str) -> InitSharedResult:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _usage(f"'{url}' is no address: {error}.") from error
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise _usage(f"'{url}' names a file on another machine.")
            return self._from_file(Path(unquote(parts.path)))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            schemes = "https://, http:// or file://"
            raise _usage(f"Cannot fetch '{url}': give an address that begins with {schemes}.")
        if self.request.dry_run:
            raise _usage(
                "--dry-run cannot look into a pack that is not here yet.",
                "Fetch it with curl -O, and try --from FILE --dry-run.",
            )
        with self._cache(url) as cache:
            return self._fetch(url, cache)

    @contextmanager
    def _cache(self, url: str) -> Iterator[Path]:
        """Give the folder of packs, alone with this one: another KTRDR_HOME may fetch it too."""
        folder = pack_folder()
        make_folder(folder, mode=0o700)
        lock, purpose = folder / f"{identity_of(url)}.lock", "init-shared --url"
        with hold(lock, purpose=purpose, patience=LOCK_PATIENCE, tell=self.tell):
            yield folder

    def _fetch(self, url: str, cache: Path) -> InitSharedResult:
        name, identity = shown_url(url), identity_of(url)
        origin = Origin("url", name, {"identity": identity})
        manifest = Manifest(self.home.shared_manifest, tell=self.tell)
        number = manifest.number_of(origin)
        origin = manifest.origins.get(number, origin)
        sha256 = origin.facts.get("sha256")
        paths = [p for p, r in manifest.records.items() if r.rpartition(":")[2] == number]
        is_complete = bool(paths) and all(os.path.lexists(self.home.shared / p) for p in paths)
        is_wanted = self.request.sha256 in (None, sha256) and not self.request.overwrite
        download = Download(
            url=url,
            sha256=self.request.sha256,
            stall=self.request.stall,
            cache=cache,
            observe=self.observe,
            known=dict(origin.facts),
            may_skip=is_complete and is_wanted,
        )
        facts = download.fetch()
        if facts is None:
            return replace(self._result(name), unchanged=len(paths), sha256=sha256)
        try:
            done = self._unpack(download.path, name, origin)
        except SandboxError as error:
            if error.code in ("archive-damaged", "archive-unsafe", "source-unusable"):
                download.forget()  # what came is no good: the next run asks again
            raise
        # Its validator is worth knowing only now that all of it is there.
        manifest = Manifest(self.home.shared_manifest, tell=self.tell)
        manifest.origins[number] = replace(origin, facts={"identity": identity, **facts})
        manifest.write()
        download.forget()
        return replace(done, sha256=facts["sha256"])

    # -- all of them -----------------------------------------------------------------------------

    def _prepare(self, kinds: list[str]) -> None:
        refuse_linked(self.home.shared, kinds)
        if not self.request.dry_run:
            make_shared_folders(self.home)

    def _fill(
        self, origin: Origin, listing: Listing, contents: Contents | None = None
    ) -> InitSharedResult:
        shared, manifest = self.home.shared, Manifest(self.home.shared_manifest, tell=self.tell)
        number = manifest.number_of(origin)
        try:
            plan = Planner(shared, manifest, number, self.request.overwrite).plan(listing)
        except OSError as error:
            raise cannot_fill(shared, error) from error
        outcome = _expected(plan)
        if not self.request.dry_run:
            outcome = Applier(
                shared=shared,
                plan=plan,
                manifest=manifest,
                origin=origin,
                number=number,
                observe=self.observe,
                copy_tree=_copy_tree,
                contents=contents,
            ).apply(listing)
        return replace(
            self._result(origin.name),
            copied=Copied(
                files=outcome.new + outcome.replaced,
                new=outcome.new,
                replaced=outcome.replaced,
                bytes=outcome.size,
                links=outcome.links,
                folders=len(plan.folders),
            ),
            unchanged=plan.unchanged + outcome.unchanged,
            kept=[*plan.kept, *outcome.kept],
            left_out=[*listing.left_out, *outcome.left_out],
            ignored=listing.ignored,
        )

    def _result(self, source: str) -> InitSharedResult:
        destination, dry_run = str(self.home.shared), self.request.dry_run
        return InitSharedResult(source=source, destination=destination, dry_run=dry_run)


def _expected(plan: Plan) -> Outcome:
    """Count what a plan would bring about."""
    copies = [copy for copy in plan.copies if not copy.kept]
    new = sum(copy.expected is None for copy in copies)
    size = sum(copy.file.size for copy in copies)
    return Outcome(new=new, replaced=len(copies) - new, size=size, links=len(plan.links))


def _copy_tree(source: str, target: str, look: Callable[[], None]) -> None:
    """Copy what is in a folder with the platform's cp, as far as that goes."""
    copier = shutil.which("cp")
    if copier is None:
        return
    environment = process.inherited()
    version = process.run([copier, "--version"], environment=environment).stdout
    # Second names of a file as such do not come along: what writes to one would change both.
    known = ("--reflink=auto", "--no-preserve=links") if "coreutils" in version else ()
    argv = [copier, "-a", *known, f"{source}/.", target]
    process.run_watched(argv, environment=environment, look=look, every=_LOOKING)
