"""What a run has to do: the source against the shared folder and what was put there before.

A file in the shared folder is ours when it still has the size and time recorded for it. Ours is
replaced when the source has another; anything else that differs is the user's and is kept, unless
told to overwrite.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.shared_data.entries import FileEntry, FileFacts, Folder, LinkEntry
from ktrdr_sandbox.shared_data.layout import OWN_FOLDER_FLAGS
from ktrdr_sandbox.shared_data.manifest import SEED_KIND, Manifest, Origin
from ktrdr_sandbox.shared_data.plans import FolderPlan, Plan, Seen, Task, link_record, record_of
from ktrdr_sandbox.shared_data.presence import Presence, Present
from ktrdr_sandbox.shared_data.remarks import Kept

_GRAINS: Final = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds to which file systems round times down."""


class Comparison:
    """Makes the plan, folder by folder, in the order of the source: parents first.

    `shared` is the shared folder's path, `origin` the number of this source in the manifest.
    """

    def __init__(
        self, shared: str, present: Presence, manifest: Manifest, origin: str, *, overwrite: bool
    ) -> None:
        self._shared = shared
        self._presence = present
        self._records = manifest.records
        self._claims = manifest.claims
        self._manifest = manifest
        self._origin = origin
        self._overwrite = overwrite
        self._blocked: set[str] = set()
        self._missing: set[str] = set()
        self.plan = Plan()

    def add_all(self, folders: Iterable[Folder]) -> Plan:
        """Compare everything; gives the finished plan."""
        for folder in folders:
            self.add(folder)
        return self.plan

    def add(self, folder: Folder) -> None:
        """Compare one folder with what is at its place."""
        parent = folder.path.rpartition("/")[0]
        if parent in self._blocked:
            self._blocked.add(folder.path)
            return
        if parent in self._missing:
            self._missing.add(folder.path)
            self._compare(folder, -1)
            return
        try:
            there = os.open(f"{self._shared}/{folder.path}", OWN_FOLDER_FLAGS)
        except FileNotFoundError:
            self._missing.add(folder.path)
            self._compare(folder, -1)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # a link is not followed
                raise
            self._blocked.add(folder.path)
            self._keep(folder.path, "in-the-way", "no folder")
        else:
            try:
                self._compare(folder, there)
            finally:
                os.close(there)

    def _compare(self, folder: Folder, there: int) -> None:
        """Compare with an open folder, or with nothing for -1."""
        present = self._presence.of(folder, there) if there >= 0 else {}
        # Without its files, which the plan holds in a smaller form.
        plan = FolderPlan(folder.without_files(), exists=there >= 0)
        prefix = f"{folder.path}/"
        if folder.stamps.items() <= present.items() and self._are_ours(prefix, folder.stamps):
            self.plan.unchanged += len(folder.stamps)
        else:
            plan.add_new(self._present(plan, prefix, folder, present))
        for link in folder.links:
            self._link(plan, prefix + link.name, link, present.get(link.name), there)
        if plan:
            self.plan.folders.append(plan)

    def _are_ours(self, prefix: str, stamps: Mapping[str, tuple[int, int]]) -> bool:
        """Whether all files of a folder are recorded as they are, and as this source's."""
        origin = self._origin
        found = list(map(self._records.get, [prefix + name for name in stamps]))
        return found == [f"{size}:{mtime_ns}:{origin}" for size, mtime_ns in stamps.values()]

    def _present(
        self, plan: FolderPlan, prefix: str, folder: Folder, present: Mapping[str, Present]
    ) -> list[FileFacts]:
        """Find out about each file for which there is one; gives the others."""
        new = []
        for facts in folder.files:
            found = present.get(facts[0])
            if found is None:
                new.append(facts)
            else:
                self._file(plan, prefix + facts[0], FileEntry(*facts), _State(*found))
        return new

    def _keep(self, path: str, reason: Literal["changed", "in-the-way"], detail: str = "") -> None:
        self.plan.kept.append(Kept(path, reason, detail))

    # -- files -----------------------------------------------------------------------------------

    def _file(self, plan: FolderPlan, path: str, entry: FileEntry, info: _State) -> None:
        record = self._records.get(path)
        if (
            info.st_mtime_ns == entry.mtime_ns
            and info.st_size == entry.size
            and stat.S_ISREG(info.st_mode)
        ):
            self._same(path, entry, record)
            return
        if not stat.S_ISREG(info.st_mode):
            self._no_file(plan, path, entry, info)
            return
        self._differing(plan, path, entry, info, record)

    def _same(self, path: str, entry: FileEntry, record: str | None) -> None:
        self.plan.unchanged += 1
        wanted = record_of(entry, self._origin)
        if record is None or (record != wanted and not record.startswith(f"{entry.stamp_text}:")):
            self.plan.found.append((path, wanted))

    def _no_file(self, plan: FolderPlan, path: str, entry: FileEntry, info: _State) -> None:
        if self._overwrite and stat.S_ISLNK(info.st_mode):
            plan.add(Task(entry, "replace", info.seen))
            return
        what = "a link" if stat.S_ISLNK(info.st_mode) else "a folder"
        self._keep(path, "in-the-way", what)

    def _differing(
        self,
        plan: FolderPlan,
        path: str,
        entry: FileEntry,
        info: _State,
        record: str | None,
    ) -> None:
        claim = self._claims.get(path)
        if claim is not None and _is_as_recorded(info, claim):
            self.plan.found.append((path, claim))  # placed by a run that was killed
            record = claim
        ours = record if record is not None and _is_as_recorded(info, record) else None
        if ours is not None and _is_same_source(info, entry, ours):
            self.plan.unchanged += 1  # a file system with coarse times: nothing has changed
            return
        if self._overwrite or _is_torn(info, entry, record, claim):
            plan.add(Task(entry, "replace", info.seen))
            return
        kept = self._reason(path, ours)
        if kept is None:
            plan.add(Task(entry, "replace", info.seen))
        elif info.st_size == entry.size:
            plan.add(Task(entry, "compare", info.seen, kept))
        else:
            self.plan.kept.append(kept)

    def _reason(self, path: str, record: str | None) -> Kept | None:
        """Why a file that differs stays as it is; None when it may be replaced."""
        if record is None:
            return Kept(path, "changed")
        number = record.rpartition(":")[2]
        if number == self._origin:
            return None
        known: Origin | None = self._manifest.origins.get(number)
        if known is not None and known.kind == SEED_KIND:
            return None  # the seed pack is there for want of better
        return Kept(path, "other-source", known.name if known is not None else "")

    # -- links -----------------------------------------------------------------------------------

    def _link(
        self,
        plan: FolderPlan,
        path: str,
        link: LinkEntry,
        there: Present | None,
        folder: int,
    ) -> None:
        if there is None:
            plan.links.append((link, False))
            return
        if not stat.S_ISLNK(_State(*there).st_mode):
            self._keep(path, "in-the-way", "no link")
            return
        now = os.readlink(link.name, dir_fd=folder)
        record = self._records.get(path)
        if now == link.target:
            self.plan.unchanged += 1
            if record is None:
                self.plan.found.append((path, link_record(link, self._origin)))
        elif self._overwrite or record == f">{now}:{self._origin}":
            plan.links.append((link, True))
        else:
            self._keep(path, "changed")


class _State(NamedTuple):
    """What lies at a file's place. Without a mode it is a regular file."""

    st_size: int
    st_mtime_ns: int
    st_mode: int = stat.S_IFREG

    @property
    def seen(self) -> Seen:
        return Seen(self.st_size, self.st_mtime_ns)


def _is_as_recorded(info: _State, record: str) -> bool:
    """Whether the file is the one that was placed: untouched since."""
    size, _, rest = record.partition(":")
    mtime, _, _ = rest.partition(":")
    if size != str(info.st_size) or not mtime.isdecimal():
        return False
    return is_time_of(info.st_mtime_ns, int(mtime))


def is_time_of(found: int, given: int) -> bool:
    """Whether a file's time is the one it was given, but for what its file system rounds off."""
    return found == given or any(found == given - given % grain for grain in _GRAINS)


def _is_same_source(info: _State, entry: FileEntry, record: str) -> bool:
    return record.startswith(f"{entry.stamp_text}:") and info.st_size == entry.size


def _is_torn(info: _State, entry: FileEntry, *records: str | None) -> bool:
    """A power cut leaves a file short, with the time it was given; a person's edit has its own."""
    given = [(entry.size, entry.mtime_ns)]
    for record in records:
        was, _, rest = (record or "").partition(":")
        when = rest.partition(":")[0]
        if was.isdecimal() and when.isdecimal():
            given.append((int(was), int(when)))
    return any(info.st_size < size and is_time_of(info.st_mtime_ns, time) for size, time in given)
