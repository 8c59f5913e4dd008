"""What up does before the engine creates a thing: checks, files, folders, image names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.compose_project import Composition, compose, write_down
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.migrate import end_left_over
from ktrdr_sandbox.docker.compose import require_compose
from ktrdr_sandbox.docker.engine import STOPPED, Belonging, Container, Engine, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.isolation.images import full_reference
from ktrdr_sandbox.isolation.model import unescape
from ktrdr_sandbox.isolation.request import IsolatedStack, Notice
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.allocation import port_conflict
from ktrdr_sandbox.slots.probe import busy_ports
from ktrdr_sandbox.state import last_up


def prepared(
    context: Context, instance: Instance, engine: Engine
) -> tuple[Composition, tuple[str, ...]]:
    """Everything before the engine creates a thing: checks, files, folders, image names.

    Gives the composition, and the services whose containers must be made anew.
    """
    versions, existing = run_in_background(engine.versions), run_in_background(engine.containers)
    owned = run_in_background(engine.belongings)
    composing = run_in_background(lambda: compose(context, instance, engine))
    # Its failure first: an engine that does not answer fails all, and says why best.
    require_compose(versions.result())
    composition = composing.result()
    containers, belongings = existing.result(), owned.result()
    _refuse_unisolated(composition.isolation)
    _refuse_foreign(composition, belongings)
    _refuse_paused(instance, containers)
    end_left_over(engine, instance, containers, composition.isolation.stack)
    cut_off = run_in_background(
        lambda: _cut_off(engine, instance, containers, composition.model["services"])
    )
    _refuse_busy_ports(composition, containers)
    write_down(context, composition)
    former = last_up.load(context.home, instance)
    kept = composition.images.intersection(former.images)
    last_up.save(context.home, instance, composition.isolation, inputs=former.inputs, kept=kept)
    for target, base in composition.isolation.seeds.items():
        engine.tag(base, target)
    return composition, cut_off.result()


def _refuse_unisolated(isolation: IsolatedStack) -> None:
    if isolation.refusals:
        lines = [f"  {r.service or 'file'}: {r.key}: {r.reason}" for r in isolation.refusals]
        tokens = json.dumps(isolation.tokens)
        raise SandboxError(
            "isolation-refused",
            "\n".join(["This Compose file cannot run beside others:", *lines]),
            hints=(f"To run it all the same: KTRDR_SANDBOX_ALLOW='{tokens}'",),
            details={"refusals": [asdict(refusal) for refusal in isolation.refusals]},
        )


def _refuse_foreign(composition: Composition, belongings: Sequence[Belonging]) -> None:
    """Of our names and not ours: Compose would replace such containers, and use such volumes."""
    instance, override = composition.instance, composition.isolation.override
    keys = [*override.get("networks", {}), *override.get("volumes", {})]
    names = {f"{instance.id}_{key}" for key in keys}
    foreign = [
        one
        for one in belongings
        if one.uuid != instance.uuid and (one.project == instance.id or one.name in names)
    ]
    if not foreign:
        return
    listed = ", ".join(f"{one.kind} {one.name}" for one in foreign)
    places = ", ".join(sorted({one.directory for one in foreign if one.directory}))
    origin = "They were made by plain Compose, another user or another KTRDR_HOME"
    raise SandboxError(
        "compose-failed",
        f"On this engine are things of another stack called {instance.id}: {listed}.",
        hints=(
            f"{origin}, from {places}." if places else f"{origin}.",
            "Remove them where they came from, or use another name.",
        ),
        details={
            "foreign": [
                {"kind": one.kind, "name": one.name, "directory": one.directory, "uuid": one.uuid}
                for one in foreign
            ]
        },
    )


def _refuse_paused(instance: Instance, containers: Sequence[Container]) -> None:
    """Compose cannot start a container that is paused. Whoever paused it had a reason."""
    paused = [c.name for c in containers if c.uuid == instance.uuid and c.state == "paused"]
    if paused:
        raise SandboxError(
            "compose-failed",
            f"Paused, so it cannot be started: {', '.join(paused)}.",
            hints=(f"Resume it: docker unpause {' '.join(paused)}",),
            details={"containers": paused},
        )


def _refuse_busy_ports(composition: Composition, containers: Sequence[Container]) -> None:
    """Raises `port-conflict`, naming who holds each port that the stack needs and has not got."""
    instance, stack = composition.instance, composition.isolation.stack
    taken = [
        ((port, protocol), container)
        for container in reversed(containers)
        for _, port, _, protocol in container.published
    ]
    own = {place for place, container in taken if container.uuid == instance.uuid}
    # A container's name says more to a user than that of the engine's port proxy.
    holders = {place: f"container {container.name}" for place, container in taken}
    starting = {service.name for service in stack.startable}
    wanted = [
        (port.published, port.protocol)
        for port in stack.ports
        if port.service in starting and (port.published, port.protocol) not in own
    ]
    conflicts = [
        replace(busy, holder=holders.get((busy.port, busy.protocol), busy.holder))
        for busy in busy_ports(wanted, address=composition.settings.bind_address)
    ]
    if conflicts:
        move = own_commands.on(instance.name, "move", "--slot N")
        raise port_conflict(conflicts, slot=instance.slot, another_slot=move)


def _cut_off(
    engine: Engine,
    instance: Instance,
    containers: Sequence[Container],
    services: Mapping[str, Mapping[str, Any]],
) -> tuple[str, ...]:
    """Services whose network was removed while they were stopped, and what shares namespaces
    with them by their ids: Compose looks at running ones only."""
    stopped = {
        one.id: one.service
        for one in containers
        if one.uuid == instance.uuid and one.state in STOPPED and not one.oneoff
    }
    gone = {stopped[one] for one in engine.cut_off(list(stopped))}
    while True:
        shared = {f"service:{name}" for name in gone}
        hanging = {
            name
            for name, service in services.items()
            if shared & {service.get(key) for key in ("network_mode", "ipc", "pid")}
        }
        if hanging <= gone:
            return tuple(sorted(gone))
        gone |= hanging


# -- while Compose creates -------------------------------------------------------------------------

_CHANGED_VOLUME: Final = re.compile(r'Volume "([^"]+)" exists but doesn.t match')


def noting_volumes(progress: LineSink, instance: Instance, notices: list[Notice]) -> LineSink:
    """Pass on what Compose says, but for a question that it asks and nobody is there to answer."""

    def sink(line: str) -> None:
        question = _CHANGED_VOLUME.search(line)
        if question is None:
            progress(line)
            return
        anew = own_commands.on(instance.name, "down", "--volumes")
        text = (
            f"the Compose file gives volume {question[1]} other options than it was made with; it "
            f"was left as it is. {anew} removes this instance's volumes, and up makes them anew"
        )
        notices.append(Notice(None, text))

    return sink


@contextmanager
def explained(engine: Engine, composition: Composition) -> Iterator[None]:
    """Add to a failure of Compose what this program knows and Compose does not."""
    name = composition.instance.name
    try:
        yield
    except SandboxError as error:
        if error.code == "port-conflict":
            # Taken since it was looked at. Raises the better told conflict, if it still stands.
            _refuse_busy_ports(composition, engine.containers())
            error.hints += (f"Or use another slot: {own_commands.on(name, 'move', '--slot N')}",)
        elif error.code == "image-missing":
            output = str(error.details.get("output", ""))
            active = composition.isolation.stack.active
            wanting = [service for service in active if service.image and service.image in output]
            if wanting:
                names = [service.name for service in wanting]
                error.details["services"] = names
                error.hints = (f"It is the image of {', '.join(names)}.", *error.hints)
            if not wanting or any(service.builds for service in wanting):
                error.hints += (f"Or build it: {own_commands.on(name, 'up', '--build')}",)
        elif error.code == "network-pool-exhausted":
            unused = engine.unused_networks()
            error.details["unused_networks"] = list(unused)
            if unused:
                error.hints = (f"These are used by no container: {' '.join(unused)}", *error.hints)
        raise


def keep_names_at_home(engine: Engine, composition: Composition) -> None:
    """Let no container of the instance carry a service's name on a network that it only joins.

    Those that run are left alone, for it would cut their connections.
    """
    memberships = composition.isolation.memberships
    if not memberships:
        return
    mine = engine.containers(uuid=composition.instance.uuid)
    stopped = [one.id for one in mine if one.state in STOPPED and not one.oneoff]
    joining = [
        run_in_background(partial(engine.join_unnamed, one.id, to.network, links=to.links))
        for one in engine.inspect(stopped)
        for to in memberships
        if to.service == one.service and one.networks.get(to.network) != ()
    ]
    for each in joining:
        each.result()


# -- images ----------------------------------------------------------------------------------------

# What decides the packages in an image, in the root of its build context.
_DEPENDENCY_FILES: Final = (
    *("pyproject.toml", "uv.lock", "poetry.lock", "Pipfile.lock", "setup.py", "setup.cfg"),
    *("requirements*.txt", ".python-version", "package.json", "package-lock.json", "yarn.lock"),
    *("pnpm-lock.yaml", "go.mod", "go.sum", "Cargo.toml", "Cargo.lock"),
)


def to_build(composition: Composition, *, everything: bool) -> dict[str, str]:
    """Images that are not there, or all, each with one of the services that share it."""
    here = composition.images.union(composition.isolation.seeds)
    first: dict[str, str] = {}
    for service in composition.isolation.stack.active:
        image = service.image
        if image and service.builds and (everything or full_reference(image) not in here):
            first.setdefault(image, service.name)
    return first


def stale_images(
    context: Context, composition: Composition, *, built: frozenset[str]
) -> list[Notice]:
    """Note what each image was made of, and tell where the checkout has other files now."""
    instance, parent = composition.instance, composition.instance.parent_repo
    former = last_up.load(context.home, instance)
    made_of: dict[str, str] = {}
    notices = []
    for service in composition.isolation.stack.active:
        build = composition.model["services"][service.name].get("build") or {}
        folder = Path(unescape(str(build.get("context", ""))))
        if not service.image or not folder.is_absolute() or build.get("dockerfile_inline"):
            continue
        if service.image in made_of:
            continue
        dockerfile = folder / unescape(str(build.get("dockerfile") or "Dockerfile"))
        made_of[service.image] = now = _digest(folder, dockerfile)
        if service.image in built:
            continue
        if service.image in composition.isolation.seeds and parent is not None:
            made_of[service.image] = _digest(
                *(
                    parent / path.relative_to(instance.path)
                    if path.is_relative_to(instance.path)
                    else path
                    for path in (folder, dockerfile)
                )
            )
        else:
            made_of[service.image] = former.inputs.get(service.image, now)
        if made_of[service.image] != now:
            rebuild = own_commands.on(instance.name, "up", "--build")
            text = (
                f"the Dockerfile or a dependency file differs from what {service.image} was "
                f"made of: {rebuild} makes it anew"
            )
            notices.append(Notice(service.name, text))
    last_up.save(context.home, instance, composition.isolation, inputs=made_of, kept=former.images)
    return notices


def _digest(context: Path, dockerfile: Path) -> str:
    """Over names and content of the Dockerfile and the dependency files that exist."""
    paths = {dockerfile}.union(*(context.glob(pattern) for pattern in _DEPENDENCY_FILES))
    whole = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
