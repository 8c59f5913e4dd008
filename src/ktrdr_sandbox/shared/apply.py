"""Carries a plan out: look for room, note what will come, place it, note what was placed.

A final name has the old content or the new, never a part of either: everything is written in a
staging folder beside the target, and renamed. Nothing is fsynced, or 20,000 small files would take
minutes: what a power cut leaves short has the time of its source and not its size, and is copied
anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import follow_owner
from ktrdr_sandbox.shared.layout import STAGING
from ktrdr_sandbox.shared.manifest import Manifest, Record
from ktrdr_sandbox.shared.plan import Plan
from ktrdr_sandbox.shared.results import InitSharedResult, Kept, Observer, Progress
from ktrdr_sandbox.shared.source import File, Stage

_MARGIN: Final = 16 * 1024 * 1024
"""Bytes that stay free: a disk filled to the last one stops every stack on it."""
_BLOCK: Final = 4096
"""Bytes that a file system rounds up to, with something for the name."""
_BEAT: Final = 0.1
"""Seconds between two reports of the progress."""


@dataclass(slots=True)
class Applier:
    """Applies a plan to the shared folder. What was done goes into manifest and `result`."""

    shared: Path
    plan: Plan
    manifest: Manifest
    number: str
    result: InitSharedResult
    observe: Observer
    _placed: dict[str, Record] = field(default_factory=dict, init=False)
    _done: int = field(default=0, init=False)
    _reported: float = field(default=0.0, init=False)

    def apply(self, stage: Stage) -> None:
        """Do it. Whatever was placed by its end stays, is whole, and is known to the next run.

        Raises OSError of the shared folder, `cannot-write`, and what reading an archive raises.
        """
        staging = self.shared / STAGING
        _remove(staging)
        if files := self.plan.files:
            needed = sum(file.size + _BLOCK for file in files) + _MARGIN
            check_room(self.shared, needed, files=len(files))
        coming: dict[str, Record] = {one.path: self._record(one) for one in files}
        coming |= {path: [target, self.number] for path, target in self.plan.links.items()}
        for path, record in coming.items():
            records = self.manifest.records.setdefault(path, [])
            records += [record] if record not in records else []
        self.manifest.write()
        if not (coming or self.plan.folders):
            return
        try:
            staging.mkdir(mode=0o700, exist_ok=True)
            # Of its own name: the copier of a killed run may still write to where it was told.
            folder = Path(tempfile.mkdtemp(dir=staging))
            for made in (staging, folder):
                follow_owner(made)
            self._place_all(stage, folder)
        finally:
            _remove(staging)  # on a full disk there is room again now
            self.manifest.records.update({path: [one] for path, one in self._placed.items()})
            self.manifest.write()

    def _record(self, file: File) -> Record:
        return [file.size, file.mtime_ns, self.number]

    def _place_all(self, stage: Stage, staging: Path) -> None:
        self._report()
        for folder, mode in self.plan.folders.items():
            with contextlib.suppress(FileExistsError):  # a running stack was quicker
                path = self.shared / folder
                path.mkdir()
                path.chmod(mode | 0o700)  # a later run has to write there
                follow_owner(path)
        for file, draft in stage(self.plan.files, staging, self._tick):
            if self._move(draft, file.path):
                self._placed[file.path] = self._record(file)
                is_new = file.path not in self.plan.replaced
                self.result.copied.add_file(file.size, is_new=is_new)
        for link, target in self.plan.links.items():
            (staging / ".link").symlink_to(target)
            if self._move(f"{staging}/.link", link):
                self._placed[link] = [target, self.number]
                self.result.copied.links += 1
        self.result.copied.folders = len(self.plan.folders)
        self._report()

    def _move(self, draft: str, path: str) -> bool:
        """Give a finished draft its final name, unless something else has come there meanwhile."""
        place = f"{self.shared}/{path}"
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(place)
            if (info.st_size, info.st_mtime_ns) != self.plan.replaced.get(path):
                Path(draft).unlink()
                self.result.kept.append(Kept(path, "appeared"))
                return False
        os.replace(draft, place)  # noqa: PTH105  see `stage`
        return True

    def _tick(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._reported >= _BEAT:
            self._report()

    def _report(self) -> None:
        self._reported = time.monotonic()
        total = sum(file.size for file in self.plan.files)
        self.observe(Progress("copying", min(self._done, total), total))


def _remove(staging: Path) -> None:
    """Remove what is staged, as far as that goes: a killed run's copier may still add to it."""
    if staging.is_symlink():
        staging.unlink()
    for folder, names, _ in os.walk(staging):
        for inner in (Path(folder, name) for name in names):
            with contextlib.suppress(OSError):
                if not inner.is_symlink():
                    inner.chmod(0o700)  # a source's folder that nobody may write to
    shutil.rmtree(staging, ignore_errors=True)


def check_room(folder: Path, needed: int, *, files: int = 0) -> None:
    """Raise `cannot-write` when a file system cannot take so many bytes or files more."""
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    details: dict[str, object] = {"path": str(folder)}
    if needed > free:
        details |= {"needed": needed, "free": free}
        room = f": {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free"
    elif info.f_files and files > info.f_favail:
        details["files"] = files
        room = f" for {files:,} files: its file system takes {info.f_favail:,} more"
    else:
        return
    hint = "Free some, or point KTRDR_HOME at another disk."
    message = f"Not enough room in {folder}{room}."
    raise SandboxError("cannot-write", message, hints=(hint,), details=details)
