"""Examples for each command: shown by its help, printed in the man page, typed by the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "create": (
        ("create feat-x", "a new branch feat-x from the commit you are on"),
        ("create review --branch fix-orders", "a branch that exists, under another name"),
        ("create feat-y --slot 7 --json", "this slot or none; one JSON document"),
    ),
    "list": (("list", ""), ("list --json", "for scripts")),
    "init-shared": (
        ("init-shared --minimal", "a small seed pack, no network"),
        ("init-shared --from ~/dev/ktrdr-old", "a checkout that has been worked in"),
    ),
    "up": (
        ("up", "the instance you are in"),
        ("up feat-x --build --timeout 300", "build the images anew, wait longer"),
        ("up feat-x --bundle report.tar.gz", "and collect what a report needs"),
        ("up --all", "every instance, side by side"),
    ),
    "wait": (
        ("wait feat-x --timeout 300", "until everything is ready"),
        ("wait --for backend,workers", "until these are"),
    ),
    "status": (("status feat-x", ""), ("status --all --json", "every instance, for a script")),
    "logs": (
        ("logs --tail 20", "of all services"),
        ("logs backend db --since 10m -i feat-x", ""),
    ),
    "env": (
        ("env feat-x", "the file"),
        ('eval "$(ktrdr-sandbox env feat-x --export)"', "into this shell"),
    ),
    "run": (("run -i feat-x -- make test-unit", "with the instance's addresses"),),
    "exec": (('exec -i feat-x db psql -U ktrdr -c "select 1"', ""),),
    "shell": (("shell", "in the backend's container"), ("shell db -i feat-x", "")),
    "open": (("open api -i feat-x", ""),),
    "url": (("url", "what `ktrdr` would talk to here"),),
    "isolate": (
        ("isolate feat-x", "each change with its reason"),
        ("isolate feat-x --override", "the file that Compose gets"),
    ),
    "doctor": (("doctor", ""), ("doctor --fix", "repair what cannot lose anything")),
    "gc": (("gc", "what would be ended"), ("gc --yes", "end it")),
    "down": (
        ("down feat-x", "data stays"),
        ("down feat-x --volumes --now", "data goes, and nothing is given time to end"),
    ),
    "move": (("move feat-x --slot 8", "for a stopped instance"),),
    "destroy": (
        ("destroy feat-x --dry-run", "list what would go"),
        ("destroy feat-x --yes", "do not ask; the branch stays"),
        ("destroy feat-y --yes --keep-worktree", "the directory stays too"),
    ),
    "init": (("init", "the checkout you are in, where it lies"),),
    "demo": (("demo", "two stacks of a sample application"), ("demo --clean", "and away again")),
}
"""By command, in an order in which all of them can be typed one after another."""


def lines(command: str) -> list[tuple[str, str]]:
    """Whole command lines, each with its remark."""
    return [
        (text if "ktrdr-sandbox" in text else f"ktrdr-sandbox {text}", remark)
        for text, remark in EXAMPLES.get(command, ())
    ]


def epilog(command: str) -> str | None:
    """What a command's help ends with; the mark in front keeps its lines from being rewrapped."""
    found = lines(command)
    if not found:
        return None
    width = max(len(line) for line, _ in found)
    shown = [
        f"  {line.ljust(width)}  # {remark}" if remark else f"  {line}" for line, remark in found
    ]
    return "\n".join(["\b", "Examples:", *shown])
