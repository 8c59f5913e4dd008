"""init-shared: fills the folders that all instances share, from wherever the data is."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox import process
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import make_folder
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import Home, pack_folder
from ktrdr_sandbox.shared.apply import Applier, Contents, cannot_fill
from ktrdr_sandbox.shared.archive import opened_archive
from ktrdr_sandbox.shared.download import Download, check_sha256, identity_of, shown_url
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
from ktrdr_sandbox.shared.plan import Plan, Planner
from ktrdr_sandbox.shared.results import Copied, InitSharedResult, Observer, Progress
from ktrdr_sandbox.shared.source import Listing, kinds_in, list_folder

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
    result: InitSharedResult

    def run(self) -> None:
        request = self.request
        if request.url is not None:
            self._from_url(request.url)
        elif request.source is None:
            self._from_folder(SEED_FOLDER, Origin(SEED_KIND, "seed pack", {}), SEED_TIME_NS)
        else:
            # Where `~` means nobody it is a name like any other.
            source = Path(os.path.expanduser(request.source)).absolute()  # noqa: PTH111
            if source.is_file():
                self._from_file(source)
            else:
                self._from_folder(source, Origin("folder", os.path.realpath(source), {}))

    def _from_folder(self, root: Path, origin: Origin, time_ns: int | None = None) -> None:
        if self.request.sha256 is not None:
            raise _usage("--sha256 goes with --url, or with an archive.")
        kinds = kinds_in(root)
        self._refuse_overlap(root, kinds)
        if self.request.link:
            self.result.source = str(root)
            self.result.linked = {kind: os.path.realpath(root / kind) for kind in kinds}
            self.result.unchanged = link_folders(
                self.home.shared, self.result.linked, dry_run=self.request.dry_run
            )
            if not self.request.dry_run:
                make_shared_folders(self.home)
            return
        self.observe(Progress("looking"))
        self._fill(origin, list_folder(root, forbidden=self.home.shared, fixed_time_ns=time_ns))

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

    def _from_file(self, path: Path) -> None:
        if self.request.link:
            raise _usage(f"--link needs a folder, and {path} is a file.")
        if self.request.sha256 is not None:
            check_sha256(path, self.request.sha256, str(path))
        self._unpack(path, str(path), Origin("archive", os.path.realpath(path), {}))

    def _unpack(self, path: Path, name: str, origin: Origin) -> None:
        with opened_archive(path, name) as archive:
            total = path.stat().st_size
            listing = archive.list_members(
                lambda read: self.observe(Progress("checking", read, total))
            )
            self._fill(origin, listing, archive.contents)
            self.result.source = name

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
            raise _usage(
                "--dry-run cannot look into a pack that is not here yet.",
                "Fetch it with curl -O, and try --from FILE --dry-run.",
            )
        cache, purpose = pack_folder(), "init-shared --url"
        make_folder(cache, mode=0o700)
        lock = cache / f"{identity_of(url)}.lock"  # another KTRDR_HOME may fetch it too
        with hold(lock, purpose=purpose, patience=LOCK_PATIENCE, tell=self.tell):
            self._fetch(url, cache)

    def _fetch(self, url: str, cache: Path) -> None:
        name, identity, wanted = shown_url(url), identity_of(url), self.request.sha256
        origin = Origin("url", name, {"identity": identity})
        manifest = Manifest.load(self.home.shared_manifest, tell=self.tell)
        number = manifest.number_of(origin)
        known = dict(manifest.origins.get(number, origin).facts)
        paths = [p for p, r in manifest.records.items() if r.rpartition(":")[2] == number]
        is_complete = bool(paths) and all(os.path.lexists(self.home.shared / p) for p in paths)
        may_skip = wanted in (None, known.get("sha256")) and not self.request.overwrite
        download = Download(
            url=url,
            sha256=wanted,
            stall=self.request.stall,
            cache=cache,
            observe=self.observe,
            known=known if is_complete and may_skip else {},
        )
        facts = download.fetch()
        if facts is None:
            self.result.source, self.result.unchanged = name, len(paths)
            self.result.sha256 = known.get("sha256")
            return
        try:
            self._unpack(download.path, name, origin)
        except SandboxError as error:
            if error.code in ("archive-damaged", "archive-unsafe", "source-unusable"):
                download.forget()  # what came is no good: the next run asks again
            raise
        # Its validator is worth knowing only now that all of it is there.
        manifest = Manifest.load(self.home.shared_manifest, tell=self.tell)
        manifest.origins[number] = replace(origin, facts={"identity": identity, **facts})
        manifest.write()
        download.forget()
        self.result.sha256 = facts["sha256"]

    def _fill(self, origin: Origin, listing: Listing, contents: Contents | None = None) -> None:
        shared, result = self.home.shared, self.result
        refuse_linked(shared, listing.kinds)
        if not self.request.dry_run:
            make_shared_folders(self.home)
        manifest = Manifest.load(self.home.shared_manifest, tell=self.tell)
        number = manifest.number_of(origin)
        manifest.origins.setdefault(number, origin)
        result.source, result.ignored = origin.name, listing.ignored
        result.left_out = listing.left_out
        try:
            plan = Planner(shared, manifest, number, self.request.overwrite, result).plan(listing)
            if self.request.dry_run:
                result.copied = _expected(plan)
                return
            Applier(
                shared=shared,
                plan=plan,
                manifest=manifest,
                number=number,
                result=result,
                observe=self.observe,
                copy_tree=_copy_tree,
                contents=contents,
            ).apply(listing.kinds)
        except OSError as error:
            raise cannot_fill(shared, error) from error


def _expected(plan: Plan) -> Copied:
    """Count what a plan would bring about."""
    copied = Copied(links=len(plan.links), folders=len(plan.folders))
    for copy in plan.copies:
        if copy.kept is None:
            copied.add_file(copy.file.size, is_new=copy.expected is None)
    return copied


def _copy_tree(source: str, target: Path, look: Callable[[], None]) -> None:
    """Copy what is in a folder with the platform's cp, as far as that goes."""
    copier = shutil.which("cp")
    if copier is None:
        return
    environment = process.current_environment()
    version = process.run([copier, "--version"], environment=environment).stdout
    # Second names of a file as such do not come along: what writes to one would change both.
    known = ("--reflink=auto", "--no-preserve=links") if "coreutils" in version else ()
    argv = [copier, "-a", *known, f"{source}/.", str(target)]
    copying = run_in_background(lambda: process.run(argv, environment=environment))
    try:
        while True:
            with suppress(TimeoutError):
                copying.result(timeout=_LOOKING)
                return
            look()
    finally:
        if not copying.done():  # an interrupt came
            process.end_all()
