"""What a stopped engine leaves in the kernel: bridges, their packet filter rules, its own mount.

A dockerd that ends removes none of its networks' bridges, and one that was killed once leaves its
data folder bound onto itself for good.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.lab.commands import answers, attempt

MOUNTS = Path("/proc/self/mountinfo")
ID_DIGITS = 12  # of a network's id, in the name of its bridge


def bridges(env: Mapping[str, str]) -> list[str]:
    """The bridges of a running engine's networks, without its default one."""
    argv = ["docker", "network", "ls", "--no-trunc", "--filter", "driver=bridge"]
    done = attempt([*argv, "--format", "{{.ID}} {{.Name}}"], limit=10, env=env)
    rows = (line.split() for line in done.stdout.decode().splitlines()) if done else ()
    return [f"br-{row[0][:ID_DIGITS]}" for row in rows if row[1] != "bridge"]


def remove_bridges(names: Iterable[str]) -> None:
    wanted = frozenset(names)
    if not wanted:
        return
    for command in ("iptables", "ip6tables"):
        saved = attempt([f"{command}-save"], limit=20)
        for rule in rules_naming(wanted, saved.stdout.decode() if saved else ""):
            attempt([command, *rule], limit=20)
    for name in wanted:
        attempt(["ip", "link", "delete", name], limit=10)


def rules_naming(names: frozenset[str], saved: str) -> Iterator[list[str]]:
    """The arguments that delete each rule of `iptables-save` naming one of the interfaces."""
    table = ""
    for line in saved.splitlines():
        words = shlex.split(line)
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") and names.intersection(words):
            yield ["-t", table, "-D", *words[1:]]


def unbind(folder: Path) -> None:
    if not bound_onto_itself(folder, MOUNTS.read_text()):
        return
    # the engine's containerd may be a moment behind and keep it busy
    if not answers(["umount", str(folder)], limit=20):
        attempt(["umount", "--lazy", str(folder)], limit=20)


def bound_onto_itself(folder: Path, mountinfo: str) -> bool:
    """Mounted there is the folder itself: never true of a file system that has its own device."""
    mounts = {
        Path(_unescaped(fields[4])): (fields[2], Path(_unescaped(fields[3])))
        for fields in (line.split() for line in mountinfo.splitlines())
    }
    above = next((parent for parent in folder.parents if parent in mounts), None)
    if above is None or folder not in mounts:
        return False
    device, root = mounts[above]
    return mounts[folder] == (device, root / folder.relative_to(above))


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    prefix = f"{folder}/"
    points = (_unescaped(line.split()[4]) for line in mountinfo.splitlines())
    return [point for point in points if f"{point}/".startswith(prefix)]


def _unescaped(field: str) -> str:
    return field.replace("\\040", " ")
