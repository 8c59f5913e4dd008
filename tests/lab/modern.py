"""The modern pair: Debian 13's Engine, buildx and Compose, beside whatever engine the host has.

It runs from a root file system of its own in namespaces of its own, so that neither engine touches
the other's packet filter. Ports that it publishes are on the loopback of its network, which has no
way out: programs that use it run in there too, and images are carried over.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import data, rootfs
from tests.lab.commands import answers, attempt, run
from tests.lab.engine import Engine
from tests.lab.errors import HostError, LabError
from tests.lab.files import lock, make_folder
from tests.lab.host import IMAGE_PACKAGES, missing, which
from tests.lab.processes import Process
from tests.lab.progress import step

SUITE = "trixie"
PACKAGES = (
    "ca-certificates",
    "docker-buildx",
    "docker-cli",
    "docker-compose",
    "docker.io",
    "iptables",
)
PROGRAMS = ("ip", "nsenter", "unshare", "pivot_root", "mount")
PLUGINS = Path("usr/libexec/docker/cli-plugins")
START = Path(__file__).with_name("modern.sh")
NETWORKS = Path("/run/netns")
LOAD_LIMIT = 600.0  # seconds to carry images over


@dataclass(frozen=True)
class ModernEngine(Engine):
    """Its root file system, data, client and configuration are in the lab's cache."""

    cache: Path = field(kw_only=True)
    folders: tuple[Path, ...] = field(kw_only=True)
    """What its stacks may bind, besides what is temporary."""

    @classmethod
    def beside(cls, first: Engine, *, cache: Path, clone: Path) -> "ModernEngine":
        place = first.state / "modern"
        home = cache / "modern" / _digest(SUITE, *PACKAGES)
        settings = {
            "DOCKER_HOST": f"unix://{place / 'docker.sock'}",
            "DOCKER_CONFIG": str(home / "docker-config"),
        }
        env = {key: value for key, value in first.env.items() if key != "DOCKER_CONTEXT"}
        env |= settings | {"PATH": f"{home / 'bin'}:{env.get('PATH', os.defpath)}"}
        return cls(
            state=place,
            env=env,
            socket=place / "docker.sock",
            pidfile=place / "docker.pid",
            data=cache / "modern" / "data",
            settings=settings,
            cache=cache,
            folders=(Path(tempfile.gettempdir()).resolve(), clone),
        )

    @property
    def home(self) -> Path:
        return Path(self.settings["DOCKER_CONFIG"]).parent

    @property
    def network(self) -> str:
        return f"ktrdr-lab-{_digest(str(self.state))}"

    def within(self, command: Iterable[str]) -> list[str]:
        """The command line that runs a command where the published ports are."""
        return ["nsenter", f"--net={NETWORKS / self.network}", *command]

    def prepare(self) -> None:
        """Have the root file system, and a client of it that runs on the host."""
        with lock(make_folder(self.cache) / "modern.lock"):
            if not self.home.is_dir():
                with step("modern pair (debootstrap, about a minute)", slow=True):
                    self._make_home()
        if not answers(["docker", "--version"], limit=20, env=self.env):
            raise HostError(f"the docker of Debian {SUITE} does not run on this host")

    def _refuse_what_is_not_ours_to_start(self) -> None:
        if os.geteuid() != 0:
            raise HostError("the modern pair needs root: namespaces and debootstrap")
        absent = [program for program in PROGRAMS if which(program) is None]
        absent += missing(IMAGE_PACKAGES) if which("apt-get") is None else []
        if absent:
            raise HostError(f"the modern pair needs: {' '.join(absent)}")

    def _make_home(self) -> None:
        work = make_folder(self.home.parent / "work")
        rootfs.sweep(work)
        with rootfs.scratch(work) as made:
            tree = make_folder(made / "rootfs")
            rootfs.bootstrap(tree, SUITE, PACKAGES, log=self.cache / "modern.log")
            plugins = make_folder(made / "docker-config" / "cli-plugins")
            for plugin in (tree / PLUGINS).iterdir():
                (plugins / plugin.name).symlink_to(self.home / "rootfs" / PLUGINS / plugin.name)
            docker = make_folder(made / "bin") / "docker"
            docker.symlink_to(self.home / "rootfs" / "usr" / "bin" / "docker")
            for old in set(self.home.parent.iterdir()) - {work, self.data}:
                rootfs.remove(old)
            made.rename(self.home)
            make_folder(made)  # which `scratch` removes

    def carry_over(self, first: Engine, images: Iterable[str]) -> None:
        """Images of the first engine that are not here yet."""
        wanted = sorted(set(images))
        argv = ["docker", "image", "inspect", "--format", "{{.Id}}"]
        if answers([*argv, *wanted], limit=30, env=self.env):
            return
        with step("images carried over to the modern engine"):
            for image in wanted:
                if not answers([*argv, image], limit=30, env=first.env):
                    run(["docker", "pull", "--quiet", image], limit=LOAD_LIMIT, env=first.env)
            with tempfile.TemporaryFile(dir=self.cache) as archive:
                self._copy(["save", *wanted], first.env, stdout=archive.fileno())
                archive.seek(0)
                self._copy(["load", "--quiet"], self.env, stdin=archive.fileno())

    def _copy(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=env,
            timeout=LOAD_LIMIT,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"docker {arguments[0]} failed", done.stderr.decode(errors="replace"))

    # what an engine of the host does otherwise

    def _provide(self) -> None:
        self.prepare()

    def _starting_elsewhere(self) -> Process | None:
        return None

    def _start(self) -> Process:
        data.make(self.data)
        self.socket.unlink(missing_ok=True)
        self.pidfile.unlink(missing_ok=True)
        if not (NETWORKS / self.network).exists():
            run(["ip", "netns", "add", self.network], limit=10)
        run(["ip", "-n", self.network, "link", "set", "lo", "up"], limit=10)
        start = [START, self.home / "rootfs", self.data, self.state, *self.folders]
        argv = self.within(["unshare", "--mount", "sh", *map(str, start)])
        return self._launched(argv, self.env)

    def _clear_up(self, bridges: Sequence[str]) -> None:
        attempt(["ip", "netns", "delete", self.network], limit=10)  # and its bridges with it


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]
