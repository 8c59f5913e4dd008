"""What a run of init-shared does: from a folder, an archive, an address, or the seed pack."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox.commands.ahead import source_path
from ktrdr_sandbox.commands.sharing import LOCK_PATIENCE, Place, Wanted
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import make_folder
from ktrdr_sandbox.locking import hold
from ktrdr_sandbox.paths import pack_folder
from ktrdr_sandbox.shared_data import seed
from ktrdr_sandbox.shared_data.ahead import FRESH, Ahead
from ktrdr_sandbox.shared_data.filling import Fill, Filler
from ktrdr_sandbox.shared_data.folders import FolderSource
from ktrdr_sandbox.shared_data.layout import KINDS, is_below, kind_of, make_kinds
from ktrdr_sandbox.shared_data.linking import link_all, refuse_links
from ktrdr_sandbox.shared_data.manifest import SEED_KIND, Manifest, Origin
from ktrdr_sandbox.shared_data.plans import Plan
from ktrdr_sandbox.shared_data.presence import Presence
from ktrdr_sandbox.shared_data.remarks import LeftOut
from ktrdr_sandbox.shared_data.results import Filling, Observer, Progress

if TYPE_CHECKING:
    from ktrdr_sandbox.shared_data.carrying import Carrier
    from ktrdr_sandbox.shared_data.placing import Staging


class _Looked(NamedTuple):
    """A folder that was compared with the shared one, and what that shows is to be done."""

    source: FolderSource
    kinds: list[str]
    filler: Filler
    plan: Plan
    name: str
    at: float


class Run:
    """One run. `ahead` is what is being read of its source already."""

    def __init__(
        self, place: Place, wanted: Wanted, observe: Observer, *, ahead: Ahead | None = None
    ) -> None:
        self._place = place
        self._wanted = wanted
        self._observe = observe
        self._shared = place.home.shared
        self._ahead = ahead
        self._manifest = Manifest(place.home.shared_manifest, tell=place.tell)
        self._looked: _Looked | None = None

    def look(self) -> Filling | None:
        """What comes of it where nothing is to be changed, found out without the lock.

        None where something is, or where another run may be about to change something.
        """
        if self._wanted.dry_run:
            return self.fill()
        root = source_path(self._place.cwd, self._wanted.source or "")
        if self._wanted.source is None or self._wanted.link or not root.is_dir():
            return None
        is_made = all((self._shared / kind).is_dir() for kind in KINDS)
        if not is_made or not self._manifest.is_settled:
            return None
        self._looked = self._look_at(root)
        return self._untouched(self._looked) if self._looked.plan.is_nothing else None

    def fill(self) -> Filling:
        """Do it, alone. Goes on from what `look` has found, if that still holds."""
        if not self._manifest.is_current():
            self._manifest = Manifest(self._manifest.path, tell=self._place.tell)
            self._looked = None
        wanted = self._wanted
        if wanted.minimal:
            return self._from_seed()
        if wanted.url is not None:
            return self._from_url(wanted.url)
        source = source_path(self._place.cwd, wanted.source or "")
        if source.is_file():
            return self._from_file(source)
        return self._linked(source) if wanted.link else self._from_folder(source)

    # -- folders ---------------------------------------------------------------------------------

    def _from_seed(self) -> Filling:
        source = FolderSource(
            seed.FOLDER, forbidden=self._shared, fixed_time=seed.TIME_NS, keep_owner=False
        )
        return self._copied(self._compared(source, Origin(SEED_KIND, seed.NAME, {})), steady=False)

    def _from_folder(self, root: Path) -> Filling:
        looked = self._looked
        if looked is None or time.monotonic() - looked.at > FRESH:
            looked = self._look_at(root)
        return self._copied(looked, steady=True)

    def _look_at(self, root: Path) -> _Looked:
        self._refuse_checksum()
        source = FolderSource(root, forbidden=self._shared, keep_owner=True)
        self._refuse_overlap(root, source.kinds())
        return self._compared(source, Origin("folder", os.path.realpath(root), {}))

    def _compared(self, source: FolderSource, origin: Origin) -> _Looked:
        kinds = source.kinds()
        self._prepare(kinds)
        filler = self._filler(origin)
        self._observe(Progress("looking", 0, None, 0, None))
        plan = self._planned(filler, source)
        return _Looked(source, kinds, filler, plan, origin.name, time.monotonic())

    def _planned(self, filler: Filler, source: FolderSource) -> Plan:
        begun, self._ahead = self._ahead, None  # what it has read it tells once
        if begun is None:
            return filler.plan(source.folders(), Presence())
        begun.manifest = self._manifest.identity
        try:
            if not begun.is_fresh:
                return filler.plan(source.folders(), Presence())
            # A killed run may have placed more after that was looked at.
            others = None if self._manifest.claims else begun
            return filler.plan(begun.folders(source), Presence(others))
        finally:
            begun.end()

    def _copied(self, looked: _Looked, *, steady: bool) -> Filling:
        if self._wanted.dry_run:
            return self._untouched(looked)

        def copying(staging: Callable[[str], Staging], number: str) -> Carrier:
            from ktrdr_sandbox.shared_data.copying import Copying  # not where nothing is copied

            return Copying(str(self._shared), staging=staging, origin=number, steady=steady)

        fill = looked.filler.carry_out(looked.plan, looked.kinds, copying)
        return self._result(looked.name, fill, looked.source.left_out)

    def _untouched(self, looked: _Looked) -> Filling:
        """The result of changing nothing."""
        fill = Fill(plan=looked.plan, outcome=None)
        return self._result(looked.name, fill, looked.source.left_out)

    def _refuse_checksum(self) -> None:
        if self._wanted.sha256 is not None:
            raise SandboxError("usage", "--sha256 goes with --url, or with an archive.")

    def _linked(self, root: Path) -> Filling:
        self._refuse_checksum()
        kinds = FolderSource(root, forbidden=self._shared, keep_owner=True).kinds()
        self._refuse_overlap(root, kinds, link=True)
        dry_run = self._wanted.dry_run
        unchanged = link_all(self._shared, root, kinds, dry_run=dry_run)
        if not dry_run:
            make_kinds(self._shared, KINDS)
        return Filling(
            source=str(root),
            destination=str(self._shared),
            dry_run=dry_run,
            unchanged=unchanged,
            linked=tuple((kind, os.path.realpath(root / kind)) for kind in kinds),
        )

    def _refuse_overlap(self, root: Path, kinds: list[str], *, link: bool = False) -> None:
        """Source and destination the same, or one in the other. Raises `usage`."""
        for kind in kinds:
            source = os.path.realpath(root / kind)
            # A link that is there gives way to the new one: where it leads does not matter then.
            target = f"{os.path.realpath(self._shared)}/{kind}"
            if not link:
                target = os.path.realpath(target)
            if is_below(source, target) or is_below(target, source):
                raise SandboxError(
                    "usage",
                    f"{root / kind} and {self._shared / kind} are the same folder, or one is in "
                    "the other.",
                    hints=("Give a folder that lies somewhere else.",),
                    details={"source": source, "destination": target},
                )

    # -- archives --------------------------------------------------------------------------------

    def _from_file(self, path: Path) -> Filling:
        if self._wanted.link:
            raise SandboxError("usage", f"--link needs a folder, and {path} is a file.")
        sha256 = self._verified(path) if self._wanted.sha256 is not None else None
        origin = Origin("archive", os.path.realpath(path), {})
        return replace(self._unpacked(path, str(path), origin), sha256=sha256)

    def _verified(self, path: Path) -> str:
        from ktrdr_sandbox.shared_data.downloads import sha256_of, wrong_checksum

        found = sha256_of(path)
        if found != self._wanted.sha256:
            raise wrong_checksum(str(path), expected=str(self._wanted.sha256), found=found)
        return found

    def _unpacked(self, path: Path, name: str, origin: Origin) -> Filling:
        from ktrdr_sandbox.shared_data.archives import Archive
        from ktrdr_sandbox.shared_data.unpacked import opened_archive
        from ktrdr_sandbox.shared_data.unpacking import Unpacking

        with opened_archive(path, name=name) as begin:
            archive = Archive(name, begin)
            total = path.stat().st_size
            survey = archive.survey(
                observe=lambda read: self._observe(Progress("checking", read, total, 0, None))
            )
            kinds = list(dict.fromkeys(kind_of(folder.path) for folder in survey.folders))
            self._prepare(kinds)
            filler = self._filler(origin)
            plan = filler.plan(iter(survey.folders), Presence())
            fill = Fill(plan=plan, outcome=None)
            if not self._wanted.dry_run:
                fill = filler.carry_out(
                    plan,
                    kinds,
                    lambda staging, number: Unpacking(
                        str(self._shared), archive, staging=staging, origin=number
                    ),
                )
        return replace(self._result(name, fill, []), ignored=survey.ignored)

    def _from_url(self, url: str) -> Filling:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise SandboxError("usage", f"'{url}' is no address: {error}.") from error
        if parts.scheme == "file":
            return self._from_file(_local_path(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SandboxError(
                "usage",
                f"Cannot fetch '{url}': give an address that begins with https://, http:// or "
                "file://.",
            )
        if self._wanted.dry_run:
            raise SandboxError(
                "usage",
                "--dry-run cannot look into a pack that is not here yet.",
                hints=("Fetch it with curl -O, and try --from FILE --dry-run.",),
            )
        return self._fetched(url)

    def _fetched(self, url: str) -> Filling:
        from ktrdr_sandbox.shared_data.downloads import (
            Download,
            PackRequest,
            identity_of,
            shown_url,
        )

        name, identity = shown_url(url), identity_of(url)
        origin = self._known(Origin("url", name, {"identity": identity}))
        request = PackRequest(
            url=url,
            sha256=self._wanted.sha256,
            stall=self._wanted.stall,
            known=dict(origin.facts),
            may_skip=self._is_complete(origin),
        )
        with self._cache(identity) as folder:
            download = Download(
                request,
                folder,
                lambda have, total: self._observe(Progress("downloading", have, total, 0, None)),
            )
            pack = download.fetch()
            if pack.path is None:
                return replace(self._as_before(origin), sha256=origin.facts.get("sha256"))
            try:
                done = self._unpacked(pack.path, name, origin)
            except SandboxError as error:
                if error.code in ("archive-damaged", "archive-unsafe", "source-unusable"):
                    download.forget()  # what came is no good: the next run asks again
                raise
            facts = {"identity": identity, **pack.facts}
            self._filler(origin).note_origin(replace(origin, facts=facts))
            download.forget()
            return replace(done, sha256=pack.facts["sha256"])

    @contextmanager
    def _cache(self, identity: str) -> Iterator[Path]:
        """The folder of packs, alone with this one: another KTRDR_HOME may fetch it too."""
        folder = pack_folder()
        make_folder(folder, mode=0o700)
        lock = folder / f"{identity}.lock"
        with hold(lock, purpose="init-shared --url", patience=LOCK_PATIENCE, tell=self._place.tell):
            yield folder

    def _known(self, origin: Origin) -> Origin:
        number = self._manifest.number_of(origin)
        return self._manifest.origins.get(number, origin)

    def _is_complete(self, origin: Origin) -> bool:
        """Whether all of an earlier pack is there, so that an unchanged one need not come again."""
        facts = origin.facts
        if self._wanted.overwrite or self._wanted.sha256 not in (None, facts.get("sha256")):
            return False
        paths = list(self._paths_from(origin))
        return bool(paths) and all(os.path.lexists(self._shared / path) for path in paths)

    def _paths_from(self, origin: Origin) -> Iterator[str]:
        number = self._manifest.number_of(origin)
        for path, record in self._manifest.records.items():
            if record.rpartition(":")[2] == number:
                yield path

    def _as_before(self, origin: Origin) -> Filling:
        count = sum(1 for _ in self._paths_from(origin))
        return Filling(
            source=origin.name,
            destination=str(self._shared),
            dry_run=False,
            unchanged=count,
        )

    # -- all of them -----------------------------------------------------------------------------

    def _prepare(self, kinds: list[str]) -> None:
        refuse_links(self._shared, kinds)
        if not self._wanted.dry_run:
            make_kinds(self._shared, KINDS)

    def _filler(self, origin: Origin) -> Filler:
        return Filler(
            self._shared,
            self._manifest,
            origin=origin,
            overwrite=self._wanted.overwrite,
            observe=self._observe,
        )

    def _result(self, name: str, fill: Fill, left_out: list[LeftOut]) -> Filling:
        plan, outcome = fill.plan, fill.outcome
        planned = Filling(
            source=name,
            destination=str(self._shared),
            dry_run=self._wanted.dry_run,
            unchanged=plan.unchanged,
            kept=tuple(plan.kept),
            left_out=tuple(left_out),
        )
        if self._wanted.dry_run:
            return replace(
                planned,
                new=sum(one.new for one in plan.folders),
                replaced=sum(one.replaced for one in plan.folders),
                size=sum(one.size for one in plan.folders),
                links=sum(len(one.links) for one in plan.folders),
                folders=sum(not one.exists for one in plan.folders),
            )
        if outcome is None:
            return planned
        return replace(
            planned,
            new=outcome.new,
            replaced=outcome.replaced,
            size=outcome.size,
            links=fill.links,
            folders=fill.folders,
            unchanged=plan.unchanged + outcome.unchanged,
            kept=(*plan.kept, *outcome.kept),
            left_out=(*left_out, *outcome.left_out),
        )


def _local_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise SandboxError("usage", f"'{url}' names a file on another machine.")
    return Path(unquote(parts.path))
