"""From an instance to the Compose call that all commands share, with its override in place."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.background import asked
from ktrdr_sandbox.commands.compose_files import compose_project
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.image_inputs import BuildInput, build_inputs
from ktrdr_sandbox.commands.shared_folders import (
    make_shared_folders,
    shared_folders,
    shared_variables,
)
from ktrdr_sandbox.docker.engine import ComposeCall, Engine
from ktrdr_sandbox.docker.environment import child_environment
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file
from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.override import render
from ktrdr_sandbox.isolation.request import BindSource, IsolatedStack, IsolationRequest, Notice
from ktrdr_sandbox.models import ID_PREFIX, Instance
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.state.home_id import home_id

if TYPE_CHECKING:
    from ktrdr_sandbox.settings import Settings


DEFAULT_WORKERS = 4
"""2 backtest and 2 training workers: the document's `.env.sandbox`."""


def current_values(context: Context, instance: Instance) -> dict[str, str]:
    """The file's values, with identity and slot as registered: an edit must not move a stack.

    A missing file is written anew and one of another slot brought up to date, which is told. Raises
    `env-file-damaged`, `cannot-write`, and `no-such-instance` when the directory is gone.
    """
    if not instance.path.is_dir():
        raise SandboxError(
            "no-such-instance",
            f"The directory of {instance.id} is gone: {instance.path}",
            hints=(f"End what is left of it: {own_commands.on(instance.name, 'destroy')}",),
            details={"instance": instance.id, "path": str(instance.path)},
        )
    if not instance.env_file.is_file():
        write_env_file(context, instance)
        context.tell(f"{instance.env_file} was missing and has been written anew.")
    elif env_file.read(instance.env_file).get("SLOT_NUMBER") != str(instance.slot):
        write_slot(instance)
        context.tell(f"{instance.env_file} told another slot and now tells {instance.slot}.")
    fixed = {
        "INSTANCE_ID": instance.id,
        "COMPOSE_PROJECT_NAME": instance.id,
        "SLOT_NUMBER": str(instance.slot),
    }
    return {**env_file.read(instance.env_file), **fixed}


def write_env_file(context: Context, instance: Instance) -> None:
    """Write the whole file. Raises `cannot-write`."""
    sections = env_file.sections(
        instance,
        ports=get_ports(instance.slot),
        extra=_workers(instance),
        paths=shared_variables(context.home),
    )
    env_file.write(instance.env_file, sections)


def write_slot(instance: Instance) -> None:
    """Bring what depends on the slot up to date, and leave all else as its owner wrote it.

    Raises `cannot-write`.
    """
    values = env_file.slot_values(instance, ports=get_ports(instance.slot))
    env_file.update(instance.env_file, {**values, **_workers(instance)})


def _workers(instance: Instance) -> dict[str, str]:
    ports = worker_ports(instance.slot, DEFAULT_WORKERS)
    return {f"KTRDR_WORKER_PORT_{i}": str(port) for i, port in enumerate(ports, start=1)}


_ROUTES: Final = Path("/proc/net/route")


def occupied_subnets(networks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """CIDRs that the host routes, VPNs included, and those of other people's engine networks.

    `networks` are the engine's, with their subnets. Those of instances do not count: they come from
    the same pool, each from its own slot's part.
    """
    engine = {subnet for subnets in networks.values() for subnet in subnets}
    foreign = {
        subnet
        for name, subnets in networks.items()
        if not name.startswith(ID_PREFIX)
        for subnet in subnets
        if ":" not in subnet
    }
    return tuple(sorted((set(_routes()) - engine) | foreign))


def _routes() -> Iterator[str]:
    try:
        lines = _ROUTES.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        yield from _interfaces()
        return
    for line in lines:
        fields = line.split()
        destination, mask = _address(fields[1]), _address(fields[7])
        if mask != "0.0.0.0":  # noqa: S104  the default route covers everything and means nothing
            yield str(ipaddress.ip_network(f"{destination}/{mask}", strict=False))


def _address(text: str) -> str:
    """The kernel's hexadecimal, in the host's byte order: little-endian wherever Docker runs."""
    return str(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text), "little")))


def _interfaces() -> Iterator[str]:
    """Without the kernel's table (macOS), at least the networks of the interfaces themselves."""
    import psutil

    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.netmask and ":" not in entry.address:
                yield str(ipaddress.ip_interface(f"{entry.address}/{entry.netmask}").network)


OVERRIDE = "override.yml"
_HOST_SIDE: Final = re.compile(r"(?<!\$)\$\{?(DB_HOST|DB_PORT)\b")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """An instance's stack, isolated: the call to make, and what isolation found and changed."""

    instance: Instance
    settings: Settings
    call: ComposeCall
    model: Mapping[str, Any]
    """The checkout's own model, resolved, before isolation."""
    isolation: IsolatedStack
    override: str
    images: frozenset[str]
    """References of the images the engine had at that moment."""
    inputs: tuple[BuildInput, ...]
    """What the stack's own images are built from."""


def base_call(context: Context, instance: Instance, settings: Settings) -> ComposeCall:
    """The call on the checkout's own files, without the override.

    Raises `compose-file-missing`, `env-file-damaged`, `no-such-instance` when
    the directory is gone.
    """
    values = current_values(context, instance)
    project = compose_project(instance.path, configured=settings.compose_file)
    return ComposeCall(
        project=instance.id,
        directory=project.directory,
        files=project.files,
        env_files=(*project.env_files, instance.env_file),
        environment={
            **child_environment(
                context.environment,
                address=instance.engine,
                file_values=values,
                paths=shared_variables(context.home),
            ),
            # ${PWD} in a file is where plain Compose is run, not where this program happens to be:
            # that may be another instance's worktree.
            "PWD": str(instance.path),
        },
    )


def compose(context: Context, instance: Instance, engine: Engine) -> Composition:
    """Resolve the checkout's model and lay isolation over it. Writes nothing.

    Raises what `base_call` does, `compose-file-invalid`, and `isolation-refused`.
    """
    settings = context.settings(instance.path)
    base = base_call(context, instance, settings)
    questions: tuple[Callable[[], Any], ...] = (
        lambda: engine.compose_config(base),
        lambda: engine.compose_config(base, resolve_paths=False),
        engine.images,
        engine.networks,
    )
    model, unresolved, images, networks = (
        answer.result() for answer in [asked(question) for question in questions]
    )
    request = IsolationRequest(
        instance=instance,
        home_id=home_id(context.home),
        unresolved=unresolved,
        bind_address=settings.bind_address,
        ports=get_ports(instance.slot),
        extra_ports=extra_ports(instance.slot),
        parent_checkout=instance.parent_repo,
        compose_directory=base.files[0].resolve().parent,
        shared=shared_folders(context.home),
        active=_active(model, lambda: engine.compose_active_services(base)),
        images=images,
        networks=frozenset(networks),
        allow=settings.allow,
        network_pool=settings.network_pool,
        host_routes=occupied_subnets(networks) if settings.network_pool else (),
        exists=Path.exists,
        is_empty=_is_empty,
    )
    isolation = isolate(model, request)
    notices = (*isolation.notices, *_left_behind(instance), *_seen_from_the_host(base))
    isolation = replace(isolation, notices=notices)
    return Composition(
        instance=instance,
        settings=settings,
        call=replace(base, files=(*base.files, context.home.state_of(instance.id) / OVERRIDE)),
        model=model,
        isolation=isolation,
        override=render(isolation, request),
        images=images,
        inputs=build_inputs(model, isolation.stack),
    )


def _left_behind(instance: Instance) -> Iterator[Notice]:
    """Compose reads `.env`, which git usually ignores, so that a new worktree has none."""
    main = instance.parent_repo
    if main is not None and (main / ".env").is_file() and not (instance.path / ".env").exists():
        text = (
            f"{main / '.env'} is not in this checkout, so that nothing in it is set here. A line "
            ".env in .worktreeinclude brings it along with 'create'; an empty .env ends this note"
        )
        yield Notice(service="", text=text)


def _seen_from_the_host(call: ComposeCall) -> Iterator[Notice]:
    """`.env.sandbox` tells where programs on this machine find the database, not containers."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in call.files)
    read = {name for text in texts for name in _HOST_SIDE.findall(text)}
    if read:
        text = (
            f"{' and '.join(sorted(read))} in a Compose file is what .env.sandbox says for this "
            f"machine ({call.environment['DB_HOST']}:{call.environment['DB_PORT']}); a container "
            "finds itself there, not the database: use the service's name"
        )
        yield Notice(service="", text=text)


def _active(model: Mapping[str, Any], ask: Callable[[], frozenset[str]]) -> frozenset[str]:
    """Services that run: all, unless profiles choose; then only Compose knows how."""
    services: Mapping[str, Any] = model.get("services") or {}
    if any((body or {}).get("profiles") for body in services.values()):
        return ask()
    return frozenset(services)


def _is_empty(path: Path) -> bool:
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return False


def refuse(isolation: IsolatedStack) -> None:
    """Raises `isolation-refused`, listing each thing that cannot be isolated."""
    if not isolation.refusals:
        return
    lines = [f"  {r.service or 'file'}: {r.key}: {r.reason}" for r in isolation.refusals]
    raise SandboxError(
        "isolation-refused",
        "\n".join(["This Compose file cannot run beside others:", *lines]),
        hints=(f"To run it all the same: KTRDR_SANDBOX_ALLOW='{json.dumps(isolation.tokens)}'",),
        details={
            "refusals": [
                {"service": r.service, "key": r.key, "reason": r.reason, "setting": r.setting}
                for r in isolation.refusals
            ]
        },
    )


def write_down(context: Context, composition: Composition) -> None:
    """Put override, port variables and folders in place before the engine sees the stack.

    Raises `cannot-write`.
    """
    instance = composition.instance
    replace_file(context.home.state_of(instance.id) / OVERRIDE, composition.override, mode=0o600)
    env_file.update(instance.env_file, composition.isolation.env)
    make_shared_folders(context.home)
    for source in composition.isolation.bind_sources:
        _make_source(source)


def _make_source(source: BindSource) -> None:
    """Create a missing bind source, writable by whatever user the container runs as.

    The engine would create it owned by root, and KTRDR's backend, uid 1000, crash-loops on a
    `logs/` it cannot write. Outside the checkout it is the user's own, like any folder he makes.
    """
    try:
        missing = [p for p in (source.path, *source.path.parents) if not p.exists()]
        source.path.mkdir(parents=True, exist_ok=True)
        for path in missing if source.own else ():
            path.chmod(0o777)
    except OSError as error:
        told = cannot_write(source.path, error)
        told.hints = (*told.hints, "The Compose file mounts it: make it, or change the file.")
        raise told from error
