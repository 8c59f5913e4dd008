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
from typing import Final

from ktrdr_sandbox.shared.layout import is_below
from ktrdr_sandbox.shared.manifest import SEED_KIND, Manifest, Record
from ktrdr_sandbox.shared.results import Copied, InitSharedResult, Kept
from ktrdr_sandbox.shared.source import File, Listing

Stamp = tuple[int, int]
"""Size in bytes and time in nanoseconds: with another stamp a file has another content."""
_GRAINS: Final = (100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds to which file systems round times down."""


@dataclass(slots=True)
class Plan:
    """What a run will do. `folders` map path to permissions, `links` path to target.

    `replaced` maps each file or link that makes way to its stamp as it was seen.
    """

    folders: dict[str, int] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, Stamp] = field(default_factory=dict)

    def counts(self) -> Copied:
        """Count what carrying it out brings about."""
        copied = Copied(links=len(self.links), folders=len(self.folders))
        for file in self.files:
            copied.add_file(file.size, is_new=file.path not in self.replaced)
        return copied


@dataclass(slots=True)
class Planner:
    """Compares a source, by its number in the manifest, with what is there.

    What stays as it is goes into `result`, and into the manifest where it counts as copied.
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
        for path, mode in listing.folders.items():
            if not self._is_blocked(path):
                self._look(path, mode)
        for file in listing.files:
            self._compare(file)
        for link, target in listing.links.items():
            self._compare_link(link, target)
        return self._plan

    def _is_blocked(self, path: str) -> bool:
        return any(is_below(path, place) for place in self._blocked)

    def _look(self, path: str, mode: int) -> None:
        """Look into the folder that has the place of a source's; a link is not followed."""
        place = self.shared / path
        if not place.is_symlink() and not place.exists():
            self._plan.folders[path] = mode
        elif place.is_symlink() or not place.is_dir():
            self._blocked.append(path)
            self.result.kept.append(Kept(path, "in-the-way", "no folder"))
        else:
            with os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # it goes away just now
                        info = entry.stat(follow_symlinks=False)
                        self._present[f"{path}/{entry.name}"] = info

    def _compare(self, file: File) -> None:
        info = self._present.get(file.path)
        if info is None:
            self._plan.files += [] if self._is_blocked(file.path) else [file]
        elif not stat.S_ISREG(info.st_mode):
            is_link = stat.S_ISLNK(info.st_mode)
            if self.overwrite and is_link:
                self._replace(file, info)
            else:
                what = "a link" if is_link else "a folder"
                self.result.kept.append(Kept(file.path, "in-the-way", what))
        else:
            self._compare_files(file, info)

    def _compare_files(self, file: File, info: os.stat_result) -> None:
        records = [one for one in self.manifest.records.get(file.path, []) if len(one) == 3]
        ours = [one for one in records if info.st_size == one[0] and _is_time_of(info, one[1])]
        given = [file.size, file.mtime_ns]
        if [info.st_size, info.st_mtime_ns] == given:
            self.result.unchanged += 1
            if not ours:
                self.manifest.records[file.path] = [[*given, self.number]]
            return
        if given in [one[:2] for one in ours]:
            self.result.unchanged += 1  # a file system with coarse times
            return
        kept = self._reason_to_keep(file.path, ours)
        # A power cut leaves a file short, with the time it was given; an edit has its own.
        is_torn = any(
            info.st_size < one[0] and _is_time_of(info, one[1]) for one in [given, *records]
        )
        if kept is None or self.overwrite or is_torn:
            self._replace(file, info)
        else:
            self.result.kept.append(kept)

    def _replace(self, file: File, info: os.stat_result) -> None:
        self._plan.files.append(file)
        self._plan.replaced[file.path] = info.st_size, info.st_mtime_ns

    def _reason_to_keep(self, path: str, ours: list[Record]) -> Kept | None:
        """Tell why a file stays that differs; `ours` are the records that it still fits."""
        if not ours:
            return Kept(path, "changed")
        number = ours[-1][2]
        origin = self.manifest.origins.get(number)
        if number == self.number or (origin is not None and origin.kind == SEED_KIND):
            return None  # the seed pack is there for want of better
        return Kept(path, "other-source", origin.name if origin is not None else "")

    def _compare_link(self, path: str, target: str) -> None:
        info = self._present.get(path)
        if info is None:
            self._plan.links |= {} if self._is_blocked(path) else {path: target}
            return
        if not stat.S_ISLNK(info.st_mode):
            self.result.kept.append(Kept(path, "in-the-way", "no link"))
            return
        current = os.readlink(self.shared / path)  # noqa: PTH115  a Path would tidy the text
        records = self.manifest.records.get(path, [])
        if current == target:
            self.result.unchanged += 1
            if not records:
                self.manifest.records[path] = [[target, self.number]]
        elif self.overwrite or [current, self.number] in records:
            self._plan.links[path] = target
            self._plan.replaced[path] = info.st_size, info.st_mtime_ns
        else:
            self.result.kept.append(Kept(path, "changed"))


def _is_time_of(info: os.stat_result, given: int) -> bool:
    """Compare with the time a file was given, but for what its file system rounds off."""
    found = info.st_mtime_ns
    return found == given or any(found == given - given % grain for grain in _GRAINS)
