"""A Docker engine in memory, or in a file. It passes the same contract tests as the real one.

Kept in a file it is a thing outside the program: several processes use it in turn, and it survives
when they are killed, half-way through a call with half of that done.

It reads Compose files written as JSON (which is YAML too) and the overrides that this program
writes. Of commands it understands `sh -c` scripts of `echo`, `exit` and `sleep`; a container
without a command runs until it is stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox.docker.engine import (
    Belonging,
    BelongingKind,
    ComposeCall,
    Container,
    ContainerDetail,
    ContainerState,
    Engine,
    ExecResult,
    LineSink,
    Resources,
    Versions,
)
from ktrdr_sandbox.errors import ErrorCode, SandboxError
from ktrdr_sandbox.models import LABEL_HOME, LABEL_ID, LABEL_SLOT, LABEL_UUID, EngineAddress
from ktrdr_sandbox.process import CommandError, Outcome
from tests.support.compose_text import read_compose

_BUILT_IN = {"bridge": ("172.17.0.0/16",), "host": (), "none": ()}
_STATE: Final = ("held", "stubborn", "_images", "_networks", "_volumes", "_number")
_PROJECT: Final = "com.docker.compose.project"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


@dataclass(kw_only=True)
class FakeContainer:
    """One container. Tests may change `detail` while the program looks on."""

    detail: ContainerDetail
    project: str
    image: str
    labels: Mapping[str, str]
    networks: frozenset[str]
    volumes: frozenset[str]
    command: Sequence[str]
    ports: tuple[tuple[str, int, int, str], ...]
    made_from: str
    oneoff: bool = False
    log: list[str] = field(default_factory=list)

    def listed(self) -> Container:
        detail = self.detail
        status = f"Exited ({detail.exit_code})" if detail.state == "exited" else detail.state
        return Container(
            id=detail.id,
            name=detail.name,
            state=detail.state,
            status=status,
            image=self.image,
            project=self.project,
            service=detail.service,
            oneoff=self.oneoff,
            instance_id=self.labels.get(LABEL_ID, ""),
            uuid=self.labels.get(LABEL_UUID, ""),
            published=detail.published,
        )

    cut_off: bool = False
    """Whether a network of it was removed."""

    def become(self, state: ContainerState, **more: Any) -> None:
        published = self.ports if state == "running" else ()
        self.detail = replace(self.detail, state=state, published=published, **more)


def locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """An engine answers several questions at once; this one answers them one after another."""

    def call(self: FakeEngine, *args: Any, **kwargs: Any) -> Any:
        with self.turn():
            self.calls.append(method.__name__)
            if self.failing is not None:
                raise self.failing
            return method(self, *args, **kwargs)

    return call


class FakeEngine(Engine):
    """`failing` is raised by every call while it is set; what is in `stubborn` stays."""

    def __init__(self, *, images: Sequence[str] = (), file: Path | None = None) -> None:
        self.address = EngineAddress(host="fake://engine")
        self.lock = threading.RLock()
        self.calls: list[str] = []
        self.failing: SandboxError | None = None
        self.stubborn: set[str] = set()
        self.held: dict[str, FakeContainer] = {}
        self._images = set(images)
        self._networks: dict[str, dict[str, str]] = {}
        self._volumes: dict[str, dict[str, str]] = {}
        self._number = 0
        self._file = file
        self._in_turn = False

    # -- kept in a file ----------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What is done meanwhile nobody else sees half of."""
        with self.lock:
            if self._in_turn or self._file is None:
                yield
                return
            handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
            self._in_turn = True
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self._file.exists():
                    self.__dict__.update(pickle.loads(self._file.read_bytes()))  # noqa: S301  ours
                yield
                self._save()
            finally:
                self._in_turn = False
                os.close(handle)

    def _save(self) -> None:
        if self._file is None:
            return
        data = pickle.dumps({name: self.__dict__[name] for name in _STATE})
        if not self._file.exists() or self._file.read_bytes() != data:
            temporary = self._file.with_suffix(".new")
            temporary.write_bytes(data)
            temporary.replace(self._file)

    # -- for tests ---------------------------------------------------------------------------

    def named(self, name: str) -> FakeContainer:
        return next(one for one in self.held.values() if one.detail.name == name)

    def change(self, name: str, **fields: Any) -> None:
        """Let something happen to a container that nobody asked for."""
        container = self.named(name)
        container.detail = replace(container.detail, **fields)

    def volumes(self) -> tuple[str, ...]:
        return tuple(self._volumes)

    def add_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._volumes[name] = dict(labels)

    def add_network(self, name: str, labels: Mapping[str, str]) -> None:
        self._networks[name] = dict(labels)

    # -- questions ---------------------------------------------------------------------------

    @locked
    def versions(self) -> Versions:
        return Versions(client="28.0.0", engine="28.0.0", api="1.48", compose="2.33.0")

    @locked
    def containers(
        self, *, uuid: str | None = None, ids: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        found = [container.listed() for container in self.held.values()]
        return tuple(
            one for one in found if uuid in (None, one.uuid) and (not ids or one.id in ids)
        )

    @locked
    def inspect(self, ids: Sequence[str]) -> tuple[ContainerDetail, ...]:
        return tuple(self.held[one].detail for one in ids if one in self.held)

    @locked
    def describe(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        found = [self.held[one] for one in ids if one in self.held]
        return [
            {
                "Id": one.detail.id,
                "Name": f"/{one.detail.name}",
                "State": {"Status": one.detail.state, "ExitCode": one.detail.exit_code},
                "Config": {
                    "Env": [f"{key}={value}" for key, value in one.detail.environment.items()],
                    "Labels": dict(one.labels),
                },
                "Mounts": [
                    {"Type": "bind", "Source": mount["source"], "RW": not mount.get("read_only")}
                    for mount in json.loads(one.made_from).get("volumes") or ()
                    if mount["type"] == "bind"
                ],
            }
            for one in found
        ]

    @locked
    def resources(self, uuid: str) -> Resources:
        return Resources(
            containers=tuple(
                one.listed() for one in self.held.values() if one.labels.get(LABEL_UUID) == uuid
            ),
            networks=_labelled(self._networks, uuid),
            volumes=_labelled(self._volumes, uuid),
        )

    @locked
    def belongings(self) -> tuple[Belonging, ...]:
        return (
            *(
                _belonging("container", one.detail.name, {**one.labels, _PROJECT: one.project})
                for one in self.held.values()
            ),
            *(_belonging("network", name, labels) for name, labels in self._networks.items()),
            *(_belonging("volume", name, labels) for name, labels in self._volumes.items()),
        )

    @locked
    def images(self) -> frozenset[str]:
        return frozenset(self._images)

    @locked
    def networks(self) -> Mapping[str, tuple[str, ...]]:
        own = {name: (f"172.{18 + i}.0.0/16",) for i, name in enumerate(self._networks)}
        return {**_BUILT_IN, **own}

    @locked
    def cut_off(self, ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for one in ids if one in self.held and self.held[one].cut_off)

    @locked
    def unused_networks(self) -> tuple[str, ...]:
        attached = {name for one in self.held.values() for name in one.networks}
        return tuple(name for name in self._networks if name not in attached)

    def _users_of(self, network: str) -> list[FakeContainer]:
        running = [one for one in self.held.values() if one.detail.state == "running"]
        return [one for one in running if network in one.networks]

    @locked
    def logs(self, container_id: str, *, tail: int) -> tuple[str, ...]:
        container = self.held.get(container_id)
        return tuple(container.log[-tail:]) if container and tail else ()

    @locked
    def execute(self, container_id: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        container = self.held.get(container_id)
        if container is None or container.detail.state != "running":
            return ExecResult(exit_code=1, output=f"container {container_id} is not running")
        lines, status, seconds = _interpreted(argv)
        if seconds > timeout:
            return ExecResult(exit_code=None, output="")
        return ExecResult(exit_code=status, output="".join(f"{line}\n" for line in lines))

    @locked
    def execute_here(self, container_id: str, argv: Sequence[str], *, terminal: bool) -> int:
        done = self.execute(container_id, argv, timeout=float("inf"))
        print(done.output, end="", flush=True)
        return done.exit_code if done.exit_code is not None else 137

    # -- changes -----------------------------------------------------------------------------

    @locked
    def remove(self, resources: Resources, *, grace: int | None) -> None:
        for container in resources.containers:
            if container.name not in self.stubborn:
                self.held.pop(container.id, None)
            self._save()
        for name in resources.networks:
            if name not in self.stubborn and not self._users_of(name):
                self._networks.pop(name, None)
                for one in self.held.values():
                    one.cut_off |= name in one.networks
            self._save()
        for name in resources.volumes:
            used = any(name in one.volumes for one in self.held.values())
            if name not in self.stubborn and not used:
                self._volumes.pop(name, None)
            self._save()

    @locked
    def stop(self, ids: Sequence[str], *, grace: int | None) -> None:
        for one in ids:
            container = self.held.get(one)
            if container is not None and container.detail.state == "running":
                container.become("exited", exit_code=137, finished_at=self._now())

    @locked
    def restart(self, ids: Sequence[str], *, grace: int | None) -> None:
        for one in ids:
            if one in self.held:
                self._start(self.held[one])

    def _start(self, container: FakeContainer) -> None:
        container.become("running", started_at=self._now(), exit_code=0)
        lines, status, seconds = _interpreted(container.command)
        container.log += lines
        if container.command and not seconds:
            container.become("exited", exit_code=status, finished_at=self._now())

    def _now(self) -> str:
        return f"2026-01-01T00:00:00.{self._next():09}Z"

    def _next(self) -> int:
        self._number += 1
        return self._number

    @locked
    def run_once(
        self, image: str, argv: Sequence[str], *, binds: Mapping[Path, str], uuid: str
    ) -> int:
        return 0 if image in self._images else 125

    @locked
    def join_unnamed(self, container_id: str, network: str, *, links: Sequence[str]) -> None:
        container = self.held.get(container_id)
        if container is not None:
            container.networks |= {network}
            networks = {**container.detail.networks, network: ()}
            container.detail = replace(container.detail, networks=networks)

    @locked
    def tag(self, source: str, target: str) -> None:
        if source not in self._images:
            raise _failed("engine-failed", f"No such image: {source}")
        self._images.add(target)

    @locked
    def untag(self, reference: str) -> None:
        if reference not in self.stubborn:
            self._images.discard(reference)

    # -- Compose -----------------------------------------------------------------------------

    @locked
    def compose_config(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        def is_on(service: Mapping[str, Any]) -> bool:
            profiles = service.get("profiles") or []
            return not profiles or bool({"*", *profiles} & set(call.profiles))

        model = self._model(call, resolve_paths=resolve_paths)
        services = {name: body for name, body in model["services"].items() if is_on(body)}
        return {**model, "services": services}

    def _model(self, call: ComposeCall, *, resolve_paths: bool = True) -> dict[str, Any]:
        try:
            model = read_compose([_interpolated(path, call) for path in call.files])
        except ValueError as error:
            raise _failed("compose-file-invalid", f"yaml: {error}") from error
        return _resolved(model, call, resolve_paths=resolve_paths)

    @locked
    def compose_create(
        self,
        call: ComposeCall,
        *,
        build: Sequence[str],
        progress: LineSink,
        recreate: Sequence[str] = (),
    ) -> None:
        model = self.compose_config(call)
        services = model["services"]
        for name, service in services.items():
            if not service.get("provider"):
                reference = _reference(call, name, service)
                self._provide_image(reference, builds=bool(service.get("build")))
        for kind, held in (("networks", self._networks), ("volumes", self._volumes)):
            for body in model[kind].values():
                if not body.get("external"):
                    labels = {**(body.get("labels") or {}), _PROJECT: call.project}
                    held.setdefault(body["name"], labels)
        self._remove_orphans(call, model)
        for name, service in services.items():
            self._create(call, model, name, service, anew=name in recreate)
            self._save()
            progress(f" Container {call.project}-{name}-1  Created")

    def _provide_image(self, reference: str, *, builds: bool) -> None:
        if builds:
            self._images.add(reference)
        if reference not in self._images:
            raise _failed("image-missing", f"No such image: {reference}")

    def _remove_orphans(self, call: ComposeCall, model: Mapping[str, Any]) -> None:
        gone = [
            one.detail.id
            for one in self.held.values()
            if one.project == call.project and one.detail.service not in model["services"]
        ]
        for identity in gone:
            del self.held[identity]

    def _create(
        self,
        call: ComposeCall,
        model: Mapping[str, Any],
        name: str,
        service: Mapping[str, Any],
        *,
        anew: bool,
    ) -> None:
        made_from = json.dumps(service, sort_keys=True)
        count = 0 if service.get("provider") else int(service.get("scale", 1))
        for number in range(1, count + 1):
            label = service.get("container_name") or f"{call.project}-{name}-{number}"
            existing = [one for one in self.held.values() if one.detail.name == label]
            if existing and existing[0].made_from == made_from and not anew:
                continue
            for one in existing:
                del self.held[one.detail.id]
            container = self._container(call, model, label, name, number, service)
            self.held[container.detail.id] = container

    def _container(
        self,
        call: ComposeCall,
        model: Mapping[str, Any],
        label: str,
        name: str,
        number: int,
        service: Mapping[str, Any],
    ) -> FakeContainer:
        networks = {
            model["networks"][key]["name"]: (name, *((body or {}).get("aliases") or ()))
            for key, body in service.get("networks", {}).items()
        }
        return FakeContainer(
            detail=replace(self._detail(label, name, number, service), networks=networks),
            project=call.project,
            image=_reference(call, name, service),
            labels=service.get("labels") or {},
            networks=frozenset(networks),
            volumes=frozenset(_volumes(model, service)),
            command=tuple(service.get("command") or ()),
            ports=_published(service, number),
            made_from=json.dumps(service, sort_keys=True),
        )

    def _detail(
        self, label: str, name: str, number: int, service: Mapping[str, Any]
    ) -> ContainerDetail:
        identity = hashlib.sha256(f"{label} {self._next()}".encode()).hexdigest()
        test = tuple((service.get("healthcheck") or {}).get("test") or ())
        return ContainerDetail(
            id=identity,
            name=label,
            service=name,
            replica=number,
            state="created",
            health="starting" if test else "none",
            exit_code=0,
            oom_killed=False,
            restart_count=0,
            error="",
            started_at="0001-01-01T00:00:00Z",
            finished_at="0001-01-01T00:00:00Z",
            health_test=test,
            environment={key: str(value) for key, value in _environment(service).items()},
            command=tuple(service.get("command") or ()),
            working_dir=service.get("working_dir") or "/",
        )

    @locked
    def compose_start(
        self, call: ComposeCall, services: Sequence[str], *, progress: LineSink
    ) -> None:
        for container in list(self.held.values()):
            detail = container.detail
            if container.oneoff or container.project != call.project:
                continue
            if detail.service not in services:
                continue
            if container.cut_off:
                raise _failed("compose-failed", f"network of {detail.name} not found")
            if detail.state != "running":
                self._start(container)
            self._save()
            progress(f" Container {detail.name}  Started")

    @locked
    def compose_stop(
        self,
        call: ComposeCall,
        *,
        grace: int | None,
        progress: LineSink,
        services: Sequence[str] = (),
    ) -> None:
        for container in reversed(list(self.held.values())):
            detail = container.detail
            wanted = container.project == call.project and not container.oneoff
            if wanted and (not services or detail.service in services):
                self.stop([detail.id], grace=grace)
                progress(f" Container {detail.name}  Stopped")

    def end_commands(self, *, at_once: bool = False) -> None:
        """Noted even while `failing`: it asks the engine nothing."""
        self.calls.append("end_commands")

    @locked
    def compose_run(
        self, call: ComposeCall, service: str, argv: Sequence[str], *, name: str
    ) -> str:
        model = self.compose_config(call)
        body = {**model["services"][service], "command": list(argv), "ports": []}
        container = self._container(call, model, name, service, 1, body)
        container.oneoff = True
        self.held[container.detail.id] = container
        self._start(container)
        return container.detail.id

    def stamped_logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: str | None
    ) -> Iterator[tuple[str, str]]:
        """Line n of a container was printed in second n; what is followed ends at once."""
        with self.turn():
            container = self.held.get(container_id)
        lines = list(enumerate(container.log, start=1)) if container else []
        for number, text in lines[-tail:] if tail else lines:
            stamp = f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000000000Z"
            if since is None or stamp >= since:
                yield stamp, text


def _belonging(kind: BelongingKind, name: str, labels: Mapping[str, str]) -> Belonging:
    return Belonging(
        kind=kind,
        name=name,
        instance_id=labels.get(LABEL_ID, ""),
        uuid=labels.get(LABEL_UUID, ""),
        home=labels.get(LABEL_HOME, ""),
        slot=labels.get(LABEL_SLOT, ""),
        project=labels.get(_PROJECT, ""),
    )


def _labelled(held: Mapping[str, Mapping[str, str]], uuid: str) -> tuple[str, ...]:
    return tuple(name for name, labels in held.items() if labels.get(LABEL_UUID) == uuid)


def _interpreted(argv: Sequence[str]) -> tuple[list[str], int, float]:
    """The lines a command prints, its exit status, and the seconds it takes."""
    if not argv:
        return [], 0, 0.0
    script = argv[2] if argv[1:2] == ["-c"] or argv[1:2] == ("-c",) else " ".join(argv)
    lines: list[str] = []
    for step in (part.strip() for part in script.split(";")):
        word, _, rest = step.removeprefix("exec ").partition(" ")
        if word == "echo":
            lines.append(rest)
        elif word in ("exit", "false"):
            return lines, int(rest or 1), 0.0
        elif word == "sleep":
            return lines, 0, float(rest)
    return lines, 0, 0.0


def _interpolated(path: Path, call: ComposeCall) -> str:
    values: dict[str, str] = {}
    for file in call.env_files:
        pairs = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
        values |= {key: value for key, sign, value in pairs if sign and not key.startswith("#")}
    values |= call.environment
    return _VARIABLE.sub(
        lambda found: values.get(found["name"]) or found["default"] or "",
        path.read_text(encoding="utf-8"),
    )


def _resolved(model: dict[str, Any], call: ComposeCall, *, resolve_paths: bool) -> dict[str, Any]:
    services: dict[str, Any] = model.get("services") or {}
    volumes: dict[str, Any] = model.get("volumes") or {}
    networks: dict[str, Any] = {**(model.get("networks") or {})}
    for name, service in services.items():
        if not {"image", "build", "provider"} & service.keys():
            raise _failed("compose-file-invalid", f"service {name} has no image and no build")
        if not service.get("network_mode"):
            service["networks"] = _as_mapping(service.get("networks") or ["default"])
        for mount in service.get("volumes") or ():
            if mount["type"] == "bind" and resolve_paths:
                mount["source"] = str((call.directory / mount["source"]).resolve())
    if any("default" in service.get("networks", {}) for service in services.values()):
        networks.setdefault("default", {})
    return {
        "name": call.project,
        "services": services,
        "networks": _with_names(networks, call.project),
        "volumes": _with_names(volumes, call.project),
        **({"secrets": model["secrets"]} if "secrets" in model else {}),
    }


def _as_mapping(entries: Any) -> dict[str, Any]:
    return dict(entries) if isinstance(entries, dict) else dict.fromkeys(entries)


def _with_names(section: Mapping[str, Any], project: str) -> dict[str, dict[str, Any]]:
    return {key: {"name": f"{project}_{key}", **(body or {})} for key, body in section.items()}


def _reference(call: ComposeCall, name: str, service: Mapping[str, Any]) -> str:
    reference = str(service.get("image") or f"{call.project}-{name}")
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def _volumes(model: Mapping[str, Any], service: Mapping[str, Any]) -> list[str]:
    return [
        model["volumes"][mount["source"]]["name"]
        for mount in service.get("volumes") or ()
        if mount["type"] == "volume" and mount.get("source")
    ]


def _environment(service: Mapping[str, Any]) -> dict[str, Any]:
    given = service.get("environment") or {}
    if isinstance(given, dict):
        return given
    return dict(entry.split("=", 1) for entry in given)


def _published(service: Mapping[str, Any], number: int) -> tuple[tuple[str, int, int, str], ...]:
    found = []
    for port in service.get("ports") or ():
        first = int(str(port["published"]).partition("-")[0])
        protocol = port.get("protocol", "tcp")
        found.append((port.get("host_ip", ""), first + number - 1, int(port["target"]), protocol))
    return tuple(found)


def _failed(code: ErrorCode, said: str) -> CommandError:
    outcome = Outcome(argv=("docker",), exit_code=1, stderr=said)
    return CommandError(code, said, outcome)
