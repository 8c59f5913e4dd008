"""A stand-in for the real ktrdr CLI that writes down how it was started, and our own command."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATUS: Final = 7
"""With which the stand-in ends."""

_OWN: Final = "import sys\nfrom ktrdr_sandbox.alias import main\nif __name__ == '__main__':\n"
TOOLS: Final = "/usr/bin:/bin"


@dataclass(frozen=True)
class RealKtrdr:
    """One stand-in. `started` tells whether it ever ran."""

    path: Path
    record: Path

    @property
    def started(self) -> bool:
        return (self.record / "argv").exists()

    @property
    def arguments(self) -> list[bytes]:
        return (self.record / "argv").read_bytes().split(b"\0")[:-1]

    @property
    def environment(self) -> dict[str, str]:
        entries = (self.record / "environment").read_bytes().decode().split("\0")
        return dict(entry.split("=", 1) for entry in entries if entry)

    @property
    def pid(self) -> int:
        return int((self.record / "pid").read_text())

    @property
    def cwd(self) -> Path:
        return Path((self.record / "cwd").read_text().removesuffix("\n"))

    @property
    def ignored_signals(self) -> set[signal.Signals]:
        """Those that whoever started the tests does not ignore, as `nohup` does."""
        mask = int((self.record / "ignored").read_text().split()[1], 16)
        ignored = {number for number in signal.Signals if mask >> (number - 1) & 1}
        python = {signal.SIGPIPE, signal.SIGXFSZ}
        given = {one for one in signal.Signals if signal.getsignal(one) is signal.SIG_IGN}
        return ignored - (given - python)


def real_ktrdr(path: Path) -> RealKtrdr:
    """Put one there."""
    record = path.with_name(f"{path.name}.record")
    record.mkdir(parents=True)
    where = shlex.quote(str(record))
    script(
        path,
        f"printf '%s\\0' \"$@\" > {where}/argv\n"
        f"env -0 > {where}/environment\n"
        f"echo $$ > {where}/pid\n"
        f"pwd -P > {where}/cwd\n"
        f"grep SigIgn /proc/$$/status > {where}/ignored\n"
        f"exit {STATUS}",
    )
    return RealKtrdr(path, record)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def own_ktrdr(path: Path, *, python: str = sys.executable) -> Path:
    """Our command, as installers write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{python}\n{_OWN}    sys.exit(main())\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def environment(folder: Path, more: Mapping[str, str | None]) -> dict[str, str]:
    """That of a user with a home in the folder, and nothing of ours on PATH."""
    given: dict[str, str | None] = {
        **os.environ,
        "HOME": str(folder),
        "KTRDR_HOME": str(folder / "home"),
        "PATH": TOOLS,
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}
