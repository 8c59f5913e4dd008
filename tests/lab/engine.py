"""The Docker engine: one that answers is used and left alone, else one is started and stopped."""

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import data as data_folder
from tests.lab import state as states
from tests.lab import traces
from tests.lab.commands import TAIL_LINES, answers, attempt, run, tail
from tests.lab.errors import HostError, LabError
from tests.lab.files import lock, make_folder, state_folder
from tests.lab.host import ENGINE_PACKAGES, install, missing, which
from tests.lab.processes import Process, find
from tests.lab.progress import say, step

ANSWER_LIMIT = 10.0  # seconds an engine has to say its version
START_LIMIT = 60.0
STOP_LIMIT = 60.0  # its containers have their own grace before it ends
DEFAULT_SOCKET = Path("/var/run/docker.sock")
DEFAULT_PIDFILE = Path("/var/run/docker.pid")
DEFAULT_DATA = Path("/var/lib/docker")


_STARTED: list["subprocess.Popen[bytes]"] = []
"""Kept, since engines outlive this process on purpose and Python warns of a child let go."""


class EndedError(LabError):
    """The engine ended by itself while it started."""


@dataclass(frozen=True)
class Engine:
    """One engine: `env` reaches it, `options` start it, `state` is where the lab remembers it."""

    state: Path
    env: Mapping[str, str]
    socket: Path = DEFAULT_SOCKET
    pidfile: Path = DEFAULT_PIDFILE
    data: Path = DEFAULT_DATA
    options: tuple[str, ...] = ()
    bridge: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)  # what others need to reach it

    @classmethod
    def chosen(cls, env: Mapping[str, str]) -> "Engine":
        """The default engine, or one of its own below `KTRDR_LAB_ENGINE_ROOT`."""
        root = env.get("KTRDR_LAB_ENGINE_ROOT")
        if not root:
            return cls(state=state_folder(env), env=env)
        return cls.private(Path(root).absolute(), env)

    @classmethod
    def private(cls, root: Path, env: Mapping[str, str]) -> "Engine":
        """An engine that shares nothing with the default one, bridge included."""
        bridge = f"ktrdr-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
        socket, pidfile, data = root / "docker.sock", root / "docker.pid", root / "data"
        settings = {"DOCKER_HOST": f"unix://{socket}"}
        options = (
            f"--host=unix://{socket}",
            f"--data-root={data}",
            f"--exec-root={root / 'exec'}",
            f"--pidfile={pidfile}",
            f"--bridge={bridge}",
        )
        return cls(
            state=state_folder(env),
            env={**env, **settings},
            socket=socket,
            pidfile=pidfile,
            data=data,
            options=options,
            bridge=bridge,
            settings=settings,
        )

    # questions

    def architecture(self) -> str | None:
        """`amd64` and the like; None when no engine answers."""
        argv = ["docker", "version", "--format", "{{.Server.Arch}}"]
        done = attempt(argv, limit=ANSWER_LIMIT, env=self.env)
        if done is None or done.returncode != 0:
            return None
        return done.stdout.decode().strip() or None

    def answers(self) -> bool:
        return self.architecture() is not None

    def started_by_lab(self) -> bool:
        return self.recorded().engine is not None

    def recorded(self) -> states.State:
        return states.load(self._file).current()

    # use

    def acquire(self, hold: states.Hold) -> bool:
        """Make sure an engine answers and is held; whether this hold is a new one."""
        with self._locked():
            before = self.recorded()
            if self.answers():
                states.save(self._file, before.with_hold(hold))
            else:
                self._bring_up(before, hold)
            return hold not in before.holds

    def release(self, hold: states.Hold) -> None:
        """Drop a hold; the last one out stops an engine that the lab started."""
        with self._locked():
            after = self.recorded().without_hold(hold)
            if after.is_unused() and after.engine:
                self._stop(after.engine)
                after = after.with_engine(None)
            states.save(self._file, after)

    @property
    def _file(self) -> Path:
        return self.state / "engine.json"

    @property
    def _log(self) -> Path:
        return self.state / "dockerd.log"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.state)
        with lock(self.state / "engine.lock"):
            yield

    def _bring_up(self, before: states.State, hold: states.Hold) -> None:
        self._refuse_what_is_not_ours_to_start()
        self._provide()
        # installing the package starts it where an init system runs; another may just be starting
        starting = before.engine or self._starting_elsewhere()
        if starting is None and not self.answers():
            with step("Docker engine started"):
                self._start_and_wait(before, hold)
            return
        if starting is not None:
            self._wait(starting)
        states.save(self._file, before.with_hold(hold))

    def _provide(self) -> None:
        """Have the programs of an engine."""
        install(missing(ENGINE_PACKAGES), log=self.state / "apt.log", why="a Docker engine")

    def _start_and_wait(self, before: states.State, hold: states.Hold) -> None:
        repairs = data_folder.repairs(self.data)
        while True:
            try:
                return self._try_to_start(before, hold)
            except EndedError as failure:
                name, repair = next(repairs, ("", None))
                if repair is None:
                    raise
                say(f"{failure}: {name}, and once more")
                repair()

    def _try_to_start(self, before: states.State, hold: states.Hold) -> None:
        process = self._start()
        # before waiting: a run that is killed meanwhile leaves an engine that the next one knows
        states.save(self._file, before.with_hold(hold).with_engine(process))
        try:
            self._wait(process)
        except BaseException:
            self._stop(process)
            states.save(self._file, before)
            raise

    def _refuse_what_is_not_ours_to_start(self) -> None:
        endpoint = self._endpoint()
        if endpoint not in (None, f"unix://{self.socket}"):
            raise HostError(
                f"no Docker engine answers at {endpoint}",
                "start it, or choose another (DOCKER_HOST, docker context use)",
            )
        if os.geteuid() != 0:
            raise HostError(
                f"no Docker engine answers at {self.socket}, and starting one needs root",
                "start Docker, or give this user access to it (group docker)",
                f"as root on Debian: apt-get install {' '.join(ENGINE_PACKAGES)}",
            )

    def _endpoint(self) -> str | None:
        """Where the docker command would look; None without a docker command."""
        argv = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        done = attempt(argv, limit=ANSWER_LIMIT, env=self.env)
        return done.stdout.decode().strip() or None if done is not None else None

    def _starting_elsewhere(self) -> Process | None:
        try:
            process = find(int(self.pidfile.read_text()))
        except (OSError, ValueError):
            return None
        name = Path(f"/proc/{process.pid}/comm") if process else None
        return process if name and name.read_text().strip() == "dockerd" else None

    def _start(self) -> Process:
        program = which("dockerd")
        if program is None:
            raise HostError("dockerd is not installed")
        if self.bridge:
            self._add_bridge(self.bridge)
        data_folder.make(self.data)
        env = {**self.env, "PATH": f"{self.env.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"}
        return self._launched([program, *self.options], env)

    def _launched(self, argv: Sequence[str], env: Mapping[str, str]) -> Process:
        with self._log.open("wb") as log:
            started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=env,
                start_new_session=True,
            )
        _STARTED.append(started)
        process = find(started.pid)
        if process is None:
            raise EndedError("dockerd ended at once", *self._said())
        return process

    def _wait(self, process: Process) -> None:
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self.answers():
                return
            if not process.runs():
                raise EndedError("dockerd ended while it started", *self._said())
            time.sleep(0.2)
        raise LabError(f"dockerd does not answer after {START_LIMIT:.0f} s", *self._said())

    def _said(self) -> list[str]:
        """For people: why it panicked stands above all the places it came by."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        panic = text.rfind("\npanic: ")
        told = text[panic + 1 :].splitlines()[:TAIL_LINES] if panic >= 0 else []
        return [*(f"| {line}" for line in told), *([] if told else tail(text)), f"all: {self._log}"]

    def _stop(self, process: Process) -> None:
        with step("Docker engine stopped"):
            bridges = traces.bridges(self.env)
            if not process.stop(term_limit=STOP_LIMIT):
                say(f"dockerd had to be killed after {STOP_LIMIT:.0f} s; see {self._log}")
            self._clear_up(bridges)

    def _clear_up(self, bridges: Sequence[str]) -> None:
        """Take away what the stopped engine left on the host."""
        traces.remove_bridges([*bridges, self.bridge] if self.bridge else bridges)
        traces.unbind(self.data)

    def _add_bridge(self, name: str) -> None:
        # with `--bridge none` a second engine would delete the bridge of the first
        install([] if which("ip") else ["iproute2"], log=self.state / "apt.log", why="a bridge")
        if not answers(["ip", "link", "show", name], limit=10):
            run(["ip", "link", "add", name, "type", "bridge"], limit=10)
