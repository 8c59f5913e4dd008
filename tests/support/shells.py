"""Real bash, zsh and fish at a terminal, with this program's completion in them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.terminal import Terminal, terminal

SHELLS: Final = ("bash", "zsh", "fish")
TAB: Final = b"\t"
PROMPT: Final = "<ready>"

_START: Final[Mapping[str, tuple[str, ...]]] = {
    "bash": ("--norc", "--noprofile", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--private", "-i"),
}
_PROMPTS: Final[Mapping[str, str]] = {
    # Without the bell, and with no list ever asked about.
    "bash": "bind 'set bell-style none'; bind 'set completion-query-items 0'; "
    "bind 'set page-completions off'; bind 'set enable-bracketed-paste off'; "
    "PS1='<rea''dy>'; ",
    "zsh": "bindkey -e; unsetopt beep zle_bracketed_paste; LISTMAX=1000; PS1='<rea''dy>'; ",
    "fish": "function fish_prompt; echo -n '<rea''dy>'; end; ",
}
_LOAD: Final[Mapping[str, str]] = {
    "bash": 'eval "$(ktrdr-sandbox completion bash)"',
    "zsh": 'eval "$(ktrdr-sandbox completion zsh)"',
    "fish": "ktrdr-sandbox completion fish | source",
}


def path_of(shell: str) -> str:
    """The shell's program. A missing one fails the test: what it proves is nowhere else."""
    found = shutil.which(shell)
    assert found, f"{shell} is not on PATH; as root on Debian: apt-get install {shell}"
    return found


class Shell:
    """A shell at its prompt."""

    def __init__(self, shown: Terminal) -> None:
        self.shown = shown

    def completed(self, line: str) -> str:
        """The line after one TAB, as the shell would have run it: its words in brackets."""
        start = len(self.shown.raw)
        # Home, `printf` before the line, end; the shell reads it as its own words then.
        self.shown.type(line.encode() + TAB)
        self.shown.type(b"\x01printf '[%s]' \x05; echo; echo do''ne\r")
        found = self._after(start, r"\n?((?:\[[^\n]*\])+)\s*\n+done")
        return found.group(1)

    def listed(self, line: str, *, until: str) -> str:
        """What two TABs show below the line, up to a pattern; the line is taken back."""
        start = len(self.shown.raw)
        self.shown.type(line.encode() + TAB)
        self.shown.type(TAB)
        self._after(start, until)
        text = self.since(start)
        self.shown.type(b"\x03")
        return text

    def since(self, start: int) -> str:
        """What was shown after so many bytes, without control sequences."""
        return Terminal.plain(self.shown.raw[start:])

    def _after(self, start: int, pattern: str) -> re.Match[str]:
        self.shown.until(pattern, after=start)
        found = re.search(pattern, self.since(start))
        assert found
        return found


@contextmanager
def shell_at_prompt(
    shell: str,
    *,
    cwd: Path,
    environment: Mapping[str, str],
    before: str = "",
    start_files: bool = False,
) -> Iterator[Shell]:
    """The shell with completion loaded: by its own start-up files, or by a line typed here.

    `before` is typed in front of that line.
    """
    own = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "PS1": "",
        **environment,
    }
    argv = [path_of(shell), *(("-i",) if start_files else _START[shell])]
    with terminal(argv, cwd=cwd, environment=own, size=(50, 160)) as shown:
        ready = Shell(shown)
        prepare = _PROMPTS[shell] + ("" if start_files else _LOAD[shell])
        shown.type(f"{before}{prepare}\r".encode())
        shown.until(PROMPT)
        yield ready
