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

from ktrdr_sandbox.shared.layout import is_below
from ktrdr_sandbox.shared.manifest import SEED_KIND, Manifest, Record
from ktrdr_sandbox.shared.results import Copied, Kept
from ktrdr_sandbox.shared.source import File, Listing


@dataclass(slots=True)
class Plan:
    """What a run will do. `folders` map path to permissions, `links` path to target.

    `replaced` maps what makes way to its size and time; `kept` and `unchanged` stay as they are.
    """

    folders: dict[str, int] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, tuple[int, int]] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    unchanged: int = 0

    def counts(self) -> Copied:
        """Count what carrying it out brings about."""
        copied = Copied(links=len(self.links), folders=len(self.folders))
        for file in self.files:
            copied.add_file(file.size, is_new=file.path not in self.replaced)
        return copied


@dataclass(slots=True)
class Planner:
    """Compares a source, by its number in the manifest, with what is there.

    What counts as copied, however it came there, is recorded in the manifest.
    """

    shared: Path
    manifest: Manifest
    number: str
    overwrite: bool
    _plan: Plan = field(default_factory=Plan, init=False)
    _present: dict[str, os.stat_result] = field(default_factory=dict, init=False)
    _blocked: list[str] = field(default_factory=list, init=False)

    def plan(self, listing: Listing) -> Plan:
        """Find out what is to be done. Raises OSError of the shared folder."""
        for path, mode in listing.folders.items():
            if not self._is_blocked(path):
                self._look(path, mode)
        new = [file for file in listing.files if file.path not in self._present]
        self._plan.files = [file for file in new if not self._is_blocked(file.path)]
        for file in listing.files:
            if info := self._present.get(file.path):
                self._compare(file, info)
        for path, target in listing.links.items():
            if info := self._present.get(path):
                self._compare_link(path, target, info)
            elif not self._is_blocked(path):
                self._plan.links[path] = target
        return self._plan

    def _is_blocked(self, path: str) -> bool:
        return any(is_below(path, place) for place in self._blocked)

    def _look(self, path: str, mode: int) -> None:
        """Look into the folder that has the place of a source's; a link is not followed."""
        place = self.shared / path
        if not os.path.lexists(place):
            self._plan.folders[path] = mode
        elif place.is_symlink() or not place.is_dir():
            self._blocked.append(path)
            self._plan.kept.append(Kept(path, "in-the-way", "no folder"))
        else:
            with os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # it goes away just now
                        info = entry.stat(follow_symlinks=False)
                        self._present[f"{path}/{entry.name}"] = info

    def _compare(self, file: File, info: os.stat_result) -> None:
        plan, found, given = (
            self._plan,
            (info.st_size, info.st_mtime_ns),
            (file.size, file.mtime_ns),
        )
        records = [one for one in self.manifest.records.get(file.path, []) if len(one) == 3]
        exact = [one for one in records if (one[0], one[1]) == found]
        ours = exact or [
            one for one in records if one[0] == found[0] and _is_time(found[1], one[1])
        ]
        if not stat.S_ISREG(info.st_mode):
            what = "a link" if stat.S_ISLNK(info.st_mode) else "a folder"
            kept: Kept | None = Kept(file.path, "in-the-way", what)
        elif given == found or given in [(one[0], one[1]) for one in ours]:
            plan.unchanged += 1
            if not ours:
                self.manifest.records[file.path] = [[*given, self.number]]
            return
        # A power cut leaves a file short, with the time it was given; an edit has its own.
        elif any(found[0] < one[0] and _is_time(found[1], one[1]) for one in [given, *records]):
            kept = None
        else:
            kept = self._reason_to_keep(file.path, ours)
        if kept is None or (self.overwrite and kept.detail != "a folder"):
            plan.files.append(file)
            plan.replaced[file.path] = found
        else:
            plan.kept.append(kept)

    def _reason_to_keep(self, path: str, ours: list[Record]) -> Kept | None:
        """Tell why a file stays that differs; `ours` are the records that it still fits."""
        if not ours:
            return Kept(path, "changed")
        number = ours[-1][2]
        origin = self.manifest.origins.get(number)
        if number == self.number or (origin is not None and origin.kind == SEED_KIND):
            return None  # the seed pack is there for want of better
        return Kept(path, "other-source", origin.name if origin is not None else "")

    def _compare_link(self, path: str, target: str, info: os.stat_result) -> None:
        if not stat.S_ISLNK(info.st_mode):
            self._plan.kept.append(Kept(path, "in-the-way", "no link"))
            return
        current = os.readlink(self.shared / path)  # noqa: PTH115  a Path would tidy the text
        records = self.manifest.records.get(path, [])
        if current == target:
            self._plan.unchanged += 1
            self.manifest.records[path] = records or [[target, self.number]]
        elif self.overwrite or [current, self.number] in records:
            self._plan.links[path] = target
            self._plan.replaced[path] = info.st_size, info.st_mtime_ns
        else:
            self._plan.kept.append(Kept(path, "changed"))


def _is_time(found: int, given: int) -> bool:
    """Compare with the time a file was given, but for what its file system rounds off."""
    return found == given or (found % 100 == 0 and 0 <= given - found < 2 * 10**9)
