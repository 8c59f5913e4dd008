"""Root file systems made on the host: Debian by debootstrap, and one static busybox.

One root file system carries the packages of every image. Installing them in one go takes about as
long as the bare minimum and one of the images by itself, and no build step inside a container needs
a network, a resolver or a certificate.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.commands import CommandError, answers, attempt, run, run_logged
from tests.lab.errors import HostError, LabError
from tests.lab.files import make_folder
from tests.lab.host import IMAGE_PACKAGES, install, missing
from tests.lab.recipes import BASE_FOLDER, TINY_FOLDER, lines
from tests.lab.traces import MOUNTS, mounts_below

SUITE = "bookworm"
STAGE_LIMIT = 1200.0  # seconds for one of debootstrap's two stages on a slow line

# A mount namespace of its own: whatever debootstrap mounts goes with its last process, even when
# that is killed. Process namespace and death signal make sure that its last process goes with ours.
CONFINED = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def make_debian(archive: Path, *, work: Path, log: Path) -> None:
    """Write the root file system of the base image to `archive`, an uncompressed tar."""
    if os.geteuid() != 0:
        raise HostError(
            "making images with debootstrap needs root",
            "run it as root once, or use an engine that reaches an image registry",
        )
    with scratch(work) as root:
        bootstrap(root, SUITE, lines(BASE_FOLDER / "packages.txt"), log=log)
        pack(root, archive)


def bootstrap(root: Path, suite: str, packages: Sequence[str], *, log: Path) -> None:
    """Put a Debian with these packages into a folder; needs root."""
    install(missing(IMAGE_PACKAGES), log=log, why="making images")
    _first_stage(root, suite, packages, log)
    _configure(root)
    run_logged(
        [*CONFINED, "chroot", str(root), "/debootstrap/debootstrap", "--second-stage"],
        log=log,
        limit=STAGE_LIMIT,
        env=_build_environment(),
    )
    _tidy(root)


def _first_stage(root: Path, suite: str, packages: Sequence[str], log: Path) -> None:
    argv = [
        "debootstrap",
        "--foreign",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        suite,
        str(root),
    ]
    mirror = host_mirror()
    run_logged(
        [*CONFINED, *argv, *([mirror] if mirror else [])],
        log=log,
        limit=STAGE_LIMIT,
        env=_build_environment(),
    )


def _configure(root: Path) -> None:
    """Between the stages: unpacked, not yet configured."""
    for name, place in (
        ("dpkg.cfg", "etc/dpkg/dpkg.cfg.d/lab"),
        ("createcluster.conf", "etc/postgresql-common/createcluster.conf"),
    ):
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((BASE_FOLDER / name).read_bytes())
        target.chmod(0o644)


def _tidy(root: Path) -> None:
    for pattern in lines(BASE_FOLDER / "remove.txt"):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def pack(root: Path, archive: Path) -> None:
    run(
        ["tar", "--numeric-owner", "--sort=name", "-C", str(root), "-cf", str(archive), "."],
        limit=300,
    )


def compress(archive: Path, target: Path) -> None:
    """Write `target` (gzip, fastest level) from `archive`, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as out:
        done = subprocess.run(
            ["gzip", "-1", "-c", str(archive)], stdin=subprocess.DEVNULL, stdout=out, check=False
        )
    if done.returncode != 0:
        partial.unlink()
        raise CommandError(f"gzip of {archive} ended with {done.returncode}")
    partial.replace(target)


def make_busybox(archive: Path, *, work: Path, log: Path) -> None:
    """Write a root file system holding one static busybox and its names to `archive`."""
    with scratch(work) as folder:
        binary = _busybox(folder, log)
        root = folder / "root"
        for name in ("bin", "tmp", "etc", "root", "var", "dev", "proc", "sys"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        shutil.copy(binary, root / "bin" / "busybox")
        for name in ("passwd", "group"):
            shutil.copyfile(TINY_FOLDER / name, root / "etc" / name)
        for applet in run([str(binary), "--list"], limit=10).split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        pack(root, archive)


def _busybox(folder: Path, log: Path) -> Path:
    """Debian's package, unpacked and not installed."""
    (package,) = lines(TINY_FOLDER / "packages.txt")
    command = ["env", "-C", str(folder), "apt-get", "-q", "download", package]
    if not answers(command, limit=120):
        run_logged(["apt-get", "-q", "update"], log=log, limit=300)
        run_logged(command, log=log, limit=120)
    unpacked = folder / "unpacked"
    run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(unpacked)], limit=30)
    for place in ("bin/busybox", "usr/bin/busybox"):
        if (unpacked / place).is_file():
            return unpacked / place
    raise LabError(f"{package} holds no busybox")


@contextmanager
def scratch(work: Path) -> Iterator[Path]:
    """A folder for one root file system, gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=make_folder(work), prefix="rootfs-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        remove(folder)


def sweep(work: Path) -> None:
    """Remove what a killed run left. Call it under the lock."""
    for path in work.glob("*"):
        if path.is_dir():
            remove(path)
        else:
            path.unlink()


def remove(folder: Path) -> None:
    """Delete a folder of ours, unless something is mounted in it (the host's own /dev, for one)."""
    mounted = mounts_below(folder.resolve(), MOUNTS.read_text())
    if mounted:
        raise LabError(f"{mounted[0]} is a mount point", f"umount it, then remove {folder}")
    shutil.rmtree(folder)


def host_mirror() -> str | None:
    """The archive this host itself installs from; None leaves the choice to debootstrap."""
    filters = ("Created-By: Packages", f"Codename: {SUITE}", "Component: main")
    said = attempt(
        ("apt-get", "indextargets", "--format", "$(REPO_URI)", *filters),
        limit=20,
    )
    addresses = said.stdout.decode().split() if said is not None else []
    return next((address for address in addresses if "://" in address), None)


def _build_environment() -> dict[str, str]:
    """What debootstrap may see of our environment; apt's proxy counts where none is in it."""
    keep = ("PATH", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
    env = {key: os.environ[key] for key in keep if key in os.environ}
    env["PATH"] = env.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    env |= {"LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
    for scheme in ("http", "https"):
        proxy = attempt(["apt-config", "shell", "P", f"Acquire::{scheme}::Proxy"], limit=10)
        value = proxy.stdout.decode().strip().removeprefix("P=").strip("'") if proxy else ""
        if value and value != "DIRECT":
            env.setdefault(f"{scheme}_proxy", value)
    return env
