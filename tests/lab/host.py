"""What the host has to have, and how a Debian host gets it."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.lab.commands import CommandError, run_logged
from tests.lab.errors import HostError
from tests.lab.progress import step

APT_LISTS = Path("/var/lib/apt/lists")
APT_LIMIT = 900.0  # seconds

# package -> whether what is needed from it is there
ENGINE_PACKAGES: Mapping[str, Callable[[], bool]] = {
    "docker.io": lambda: bool(which("dockerd") and which("docker")),
    "iptables": lambda: bool(which("iptables")),
}
IMAGE_PACKAGES: Mapping[str, Callable[[], bool]] = {
    "debootstrap": lambda: bool(which("debootstrap")),
    "debian-archive-keyring": lambda: Path(
        "/usr/share/keyrings/debian-archive-keyring.gpg"
    ).exists(),
    "wget": lambda: bool(which("wget")),
    "ca-certificates": lambda: Path("/etc/ssl/certs/ca-certificates.crt").exists(),
}

SHELL_PACKAGES: Mapping[str, Callable[[], bool]] = {
    "bash": lambda: bool(which("bash")),
    "zsh": lambda: bool(which("zsh")),
    "fish": lambda: bool(which("fish")),
    "direnv": lambda: bool(which("direnv")),
}


def which(command: str) -> str | None:
    """Also where only root's PATH looks."""
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing(packages: Mapping[str, Callable[[], bool]]) -> list[str]:
    return [package for package, present in packages.items() if not present()]


def install(packages: Sequence[str], *, log: Path, why: str) -> None:
    """Install Debian packages; where that cannot be, say which ones are needed."""
    if not packages:
        return
    names = " ".join(packages)
    if os.geteuid() != 0 or not which("apt-get"):
        raise HostError(f"{why} needs: {names}", f"as root: apt-get install {names}")
    with step(f"apt-get install {names}", slow=True):
        if not any(APT_LISTS.glob("*Packages*")):
            _apt(["update"], log)
        _install_or_refresh(packages, log)


def _install_or_refresh(packages: Sequence[str], log: Path) -> None:
    argv = ["install", "-y", "--no-install-recommends", *packages]
    try:
        _apt(argv, log)
    except CommandError:
        # lists older than the archive name files that are gone
        _apt(["update"], log)
        _apt(argv, log)


def _apt(arguments: Sequence[str], log: Path) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    # another apt may be running: wait for it instead of failing
    argv = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments]
    run_logged(argv, log=log, limit=APT_LIMIT, env=env)
