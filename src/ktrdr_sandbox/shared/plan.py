"""What a run has to do: the source against the shared folder and what was put there before.

A file in the shared folder is ours when it still has the size and time recorded for it. Ours is
replaced when the source has another; anything else that differs is the user's and is kept, unless
told to overwrite.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ktrdr_sandbox.shared.layout import STAGING, is_below
from ktrdr_sandbox.shared.manifest import SEED_KIND, Manifest
from ktrdr_sandbox.shared.results import InitSharedResult, Kept, KeptReason
from ktrdr_sandbox.shared.source import File, Folder, Listing

Stamp = tuple[int, int]
"""Size in bytes and time in nanoseconds: with another stamp a file has another content."""
_GRAINS: Final = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds to which file systems round times down."""


class Copy(NamedTuple):
    """A file to place, where now lies what `expected` tells (None: nothing).

    With `kept` only its time differs for certain: unless its content is the same it is kept so.
    """

    file: File
    expected: Stamp | None = None
    kept: Kept | None = None


@dataclass(slots=True)
class Plan:
    """What a run will do. `folders` are to be made; `links` map path to (target, is replaced).

    `whole` are the sources, by kind, of kinds of which nothing is there yet; `found` are records to
    add for what is there already.
    """

    folders: list[Folder] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    links: dict[str, tuple[str, bool]] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Planner:
    """Compares a source, by its number in the manifest, with what is there.

    What stays as it is goes into `result`.
    """

    shared: Path
    manifest: Manifest
    number: str
    overwrite: bool
    result: InitSharedResult
    _plan: Plan = field(default_factory=Plan, init=False)
    _present: dict[str, os.stat_result] = field(default_factory=dict, init=False)
    _blocked: list[str] = field(default_factory=list, init=False)

    def plan(self, listing: Listing) -> Plan:
        """Find out what is to be done. Raises OSError of the shared folder."""
        for folder in listing.folders:
            if not self._is_blocked(folder.path):
                self._look(folder, listing.roots)
        for file in listing.files:
            if info := self._present.get(file.path):
                self._compare(file, info)
            elif not self._is_blocked(file.path):
                self._plan.copies.append(Copy(file))
        for path, target in listing.links.items():
            self._compare_link(path, target)
        return self._plan

    def _is_blocked(self, path: str) -> bool:
        return any(is_below(path, one) for one in self._blocked)

    def _look(self, folder: Folder, roots: dict[str, str]) -> None:
        """Look into the folder that has the place of a source's; a link is not followed."""
        place = f"{self.shared}/{folder.path}"
        names = set()
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                self._blocked.append(folder.path)
                self._keep(folder.path, "in-the-way", "no folder")
                return
            with os.scandir(place) as entries:
                for entry in entries:
                    names.add(entry.name)
                    with contextlib.suppress(FileNotFoundError):  # it goes away just now
                        info = entry.stat(follow_symlinks=False)
                        self._present[f"{folder.path}/{entry.name}"] = info
        except FileNotFoundError:
            self._plan.folders.append(folder)
        if folder.path in roots and names <= {STAGING}:
            self._plan.whole[folder.path] = roots[folder.path]

    def _keep(self, path: str, reason: KeptReason, detail: str = "") -> None:
        self.result.kept.append(Kept(path, reason, detail))

    def _compare(self, file: File, info: os.stat_result) -> None:
        record = self.manifest.records.get(file.path)
        if not stat.S_ISREG(info.st_mode):
            is_link = stat.S_ISLNK(info.st_mode)
            if self.overwrite and is_link:
                self._replace(file, info)
            else:
                self._keep(file.path, "in-the-way", "a link" if is_link else "a folder")
        elif info.st_size == file.size and info.st_mtime_ns == file.mtime_ns:
            self.result.unchanged += 1
            if not (record or "").startswith(f"{file.size}:{file.mtime_ns}:"):
                self._plan.found[file.path] = file_record(file, self.number)
        else:
            self._compare_differing(file, info, record)

    def _compare_differing(self, file: File, info: os.stat_result, record: str | None) -> None:
        claim = self.manifest.claims.get(file.path)
        if claim is not None and is_stamp_of(info, _stamp_in(claim)):
            self._plan.found[file.path] = record = claim  # placed by a run that was killed
        given = (file.size, file.mtime_ns), _stamp_in(record), _stamp_in(claim)
        is_ours = is_stamp_of(info, given[1])
        if is_ours and given[1] == given[0]:
            self.result.unchanged += 1  # a file system with coarse times: nothing has changed
            return
        kept = self._reason_to_keep(file.path, record if is_ours else None)
        # A power cut leaves a file short, with the time it was given; an edit has its own.
        is_torn = any(s and info.st_size < s[0] and _is_time_of(info, s[1]) for s in given)
        if kept is None or self.overwrite or is_torn:
            self._replace(file, info)
        elif info.st_size == file.size:
            self._replace(file, info, kept)
        else:
            self.result.kept.append(kept)

    def _replace(self, file: File, info: os.stat_result, kept: Kept | None = None) -> None:
        self._plan.copies.append(Copy(file, (info.st_size, info.st_mtime_ns), kept))

    def _reason_to_keep(self, path: str, record: str | None) -> Kept | None:
        """Tell why a file stays that differs; `record` is the manifest's where it is ours."""
        if record is None:
            return Kept(path, "changed")
        number = record.rpartition(":")[2]
        known = self.manifest.origins.get(number)
        if number == self.number or (known is not None and known.kind == SEED_KIND):
            return None  # the seed pack is there for want of better
        return Kept(path, "other-source", known.name if known is not None else "")

    def _compare_link(self, path: str, target: str) -> None:
        info = self._present.get(path)
        if info is None:
            if not self._is_blocked(path):
                self._plan.links[path] = (target, False)
            return
        if not stat.S_ISLNK(info.st_mode):
            self._keep(path, "in-the-way", "no link")
            return
        now = os.readlink(self.shared / path)  # noqa: PTH115  a Path would tidy the text
        record = self.manifest.records.get(path)
        if now == target:
            self.result.unchanged += 1
            if record is None:
                self._plan.found[path] = link_record(target, self.number)
        elif self.overwrite or record == link_record(now, self.number):
            self._plan.links[path] = (target, True)
        else:
            self._keep(path, "changed")


def file_record(file: File, number: str) -> str:
    """Return the manifest's record of a file that was placed."""
    return f"{file.size}:{file.mtime_ns}:{number}"


def link_record(target: str, number: str) -> str:
    """Return the manifest's record of a link that was made."""
    return f">{target}:{number}"


def _stamp_in(record: str | None) -> Stamp | None:
    size, _, rest = (record or "").partition(":")
    mtime = rest.partition(":")[0]
    return (int(size), int(mtime)) if size.isdecimal() and mtime.isdecimal() else None


def is_stamp_of(info: os.stat_result, given: Stamp | None) -> bool:
    """Compare with the stamp a file was given, but for what its file system rounds off."""
    return given is not None and info.st_size == given[0] and _is_time_of(info, given[1])


def _is_time_of(info: os.stat_result, given: int) -> bool:
    found = info.st_mtime_ns
    return found == given or any(found == given - given % grain for grain in _GRAINS)
