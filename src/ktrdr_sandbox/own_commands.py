"""This program's own commands, as messages tell people to type them: always with the instance's
name.

Without it they mean the instance of the directory that they are typed in, and a message is read in
any: `down --volumes` would then delete another instance's database.
"""

from __future__ import annotations

from typing import Literal

NameFirst = Literal["config show", "destroy", "down", "env", "move", "status", "up"]
"""Commands that take the instance as their first argument."""


def on(name: str, command: NameFirst, *options: str) -> str:
    """`on("feat-x", "up", "--build")`: the command for the instance of that name."""
    return " ".join(("ktrdr-sandbox", command, name, *options))


def logs(name: str, service: str) -> str:
    """What a service of the instance of that name printed."""
    return f"ktrdr-sandbox logs {service} -i {name}"
