"""From an instance to the Compose call that all commands share, with its override in place."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import env_file, own_commands
from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.compose_files import compose_project
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import ComposeCall, Engine
from ktrdr_sandbox.docker.environment import child_environment
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import cannot_write, replace_file
from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.override import render
from ktrdr_sandbox.isolation.request import IsolatedStack, IsolationRequest, Notice
from ktrdr_sandbox.models import ID_PREFIX, Instance, Stack
from ktrdr_sandbox.settings import Settings
from ktrdr_sandbox.shared.layout import make_shared_folders, shared_folders, shared_variables
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports, worker_ports
from ktrdr_sandbox.state.last_up import home_id

OVERRIDE: Final = "override.yml"
DEFAULT_WORKERS: Final = 4  # 2 backtest and 2 training workers: the document's `.env.sandbox`


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
    values = env_file.read(instance.env_file)
    if values.get("SLOT_NUMBER") != str(instance.slot):
        write_slot(instance)
        context.tell(f"{instance.env_file} told another slot and now tells {instance.slot}.")
        values = env_file.read(instance.env_file)
    return {
        **values,
        "INSTANCE_ID": instance.id,
        "COMPOSE_PROJECT_NAME": instance.id,
        "SLOT_NUMBER": str(instance.slot),
    }


def write_env_file(context: Context, instance: Instance) -> None:
    """Write the whole file. Raises `cannot-write`."""
    ports, paths = get_ports(instance.slot), shared_variables(context.home)
    extra = _workers(instance)
    env_file.write(instance.env_file, instance, ports=ports, extra=extra, paths=paths)


def write_slot(instance: Instance) -> None:
    """Bring what depends on the slot up to date, and nothing else. Raises `cannot-write`."""
    values = env_file.slot_values(instance, ports=get_ports(instance.slot))
    env_file.update(instance.env_file, {**values, **_workers(instance)})


def _workers(instance: Instance) -> dict[str, str]:
    ports = worker_ports(instance.slot, DEFAULT_WORKERS)
    return {f"KTRDR_WORKER_PORT_{i}": str(port) for i, port in enumerate(ports, start=1)}


# -- the call --------------------------------------------------------------------------------------

# Where programs on this machine find the database. A container would find itself there.
_HOST_SIDE: Final = frozenset({"DB_HOST", "DB_PORT", "KTRDR_DB_HOST"})
_USES_HOST_SIDE: Final = re.compile(rf"(?<!\$)\$\{{?({'|'.join(sorted(_HOST_SIDE))})\b")
_SETTINGS: Final = {
    "COMPOSE_FILE": "compose_file",
    "COMPOSE_PROFILES": "profiles",
    "COMPOSE_ENV_FILES": "env_files",
}


def base_call(
    context: Context,
    instance: Instance,
    settings: Settings,
    *,
    database: Mapping[str, str] | None = None,
) -> ComposeCall:
    """The call on the checkout's own files, without the override.

    `database` replaces values of `.env.sandbox`. Raises `compose-file-missing`, `env-file-damaged`,
    `no-such-instance` when the directory is gone.
    """
    values = {**current_values(context, instance), **(database or {})}
    inherited = context.environment
    if inherited.get("INSTANCE_ID", "").startswith(ID_PREFIX):  # a sandbox's values were exported
        inherited = {key: value for key, value in inherited.items() if key not in _HOST_SIDE}
    environment = child_environment(
        inherited,
        address=instance.engine,
        file_values={key: value for key, value in values.items() if key not in _HOST_SIDE},
        paths=shared_variables(context.home),
    )
    project = compose_project(instance.path, settings)
    return ComposeCall(
        project=instance.id,
        directory=project.directory,
        files=project.files,
        env_files=project.env_files,
        profiles=project.profiles,
        # ${PWD} in a file is where plain Compose is run, not where this program happens to be:
        # that may be another instance's worktree.
        environment={**environment, "PWD": str(instance.path)},
    )


# -- the stack -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """An instance's stack, isolated: the call to make, and what isolation found and changed.

    `model` is the checkout's own, resolved, before isolation; `images` are the references of those
    that the engine had at that moment.
    """

    instance: Instance
    settings: Settings
    call: ComposeCall
    model: Mapping[str, Any]
    isolation: IsolatedStack
    override: str
    images: frozenset[str]


def compose(context: Context, instance: Instance, engine: Engine) -> Composition:
    """Resolve the checkout's model and lay isolation over it. Writes nothing.

    Raises what `base_call` does, and `compose-file-invalid`.
    """
    settings = context.settings(instance.path)
    base = base_call(context, instance, settings)
    images, networks = run_in_background(engine.images), run_in_background(engine.networks)
    dropped = list(_dropped(context.environment, settings))
    try:
        model, unresolved, active = run_in_background(lambda: _read(engine, base)).result()
    except SandboxError as error:
        error.hints += tuple(notice.text for notice in dropped)
        if "required variable" in str(error.details.get("output", error.message)):
            error.hints += ("Set it in .env, or in a file of the setting env_files.",)
        raise
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
        active=active,
        images=images.result(),
        networks=frozenset(networks.result()),
        containers=_similar_containers(context, instance, engine),
        allow=settings.allow,
        network_pool=settings.network_pool,
        host_routes=_occupied_subnets(networks.result()) if settings.network_pool else (),
        exists=Path.exists,
        is_empty=_is_empty,
    )
    isolation = isolate(model, request)
    database = _database_values(isolation.stack)
    if database.items() - base.environment.items():
        call = base_call(context, instance, settings, database=database)
        other, unresolved, active = _read(engine, call)
        again = isolate(other, replace(request, unresolved=unresolved, active=active))
        if _database_values(again.stack) == database:
            base, model, isolation = call, other, again
        else:  # it is made of our values, and grows with them
            database = {}
    notices = (*isolation.notices, *_about_values(instance, settings, base), *dropped)
    isolation = replace(isolation, notices=notices, env={**isolation.env, **database})
    return Composition(
        instance=instance,
        settings=settings,
        call=replace(base, files=(*base.files, context.home.state_of(instance.id) / OVERRIDE)),
        model=model,
        isolation=isolation,
        override=render(isolation, request),
        images=request.images,
    )


def _read(
    engine: Engine, call: ComposeCall
) -> tuple[dict[str, Any], dict[str, Any] | None, frozenset[str]]:
    """The model, the same with paths as the file spells them, and the services that are on.

    With the services of all profiles where Compose can read them together, so that enabling one
    moves no port. Paths as spelt cannot be had of every file that includes others.
    """
    whole = replace(call, profiles=("*",))
    as_spelt = run_in_background(lambda: engine.compose_config(whole, resolve_paths=False))
    try:
        model = engine.compose_config(whole)
    except SandboxError:
        model = engine.compose_config(call)
        as_spelt = run_in_background(lambda: engine.compose_config(call, resolve_paths=False))
    services: Mapping[str, Any] = model.get("services") or {}
    active = frozenset(services)
    if any((body or {}).get("profiles") for body in services.values()):
        active = frozenset(engine.compose_config(call)["services"])
    try:
        return model, as_spelt.result(), active
    except SandboxError:
        return model, None, active


def _similar_containers(context: Context, instance: Instance, engine: Engine) -> frozenset[str]:
    """Names of containers of instances whose names begin with this one's, or the reverse."""
    similar = {
        other.uuid
        for other in context.registry.peek().instances.values()
        if other.id.startswith(f"{instance.id}-") or instance.id.startswith(f"{other.id}-")
    }
    containers = engine.containers() if similar else ()
    return frozenset(container.name for container in containers if container.uuid in similar)


def _database_values(stack: Stack) -> dict[str, str]:
    """`DB_NAME` and the like, both as KTRDR reads them, by the official image's variables."""
    databases = stack.with_role("db")
    given = databases[0].environment if databases else {}
    values = {"PASSWORD": given.get("POSTGRES_PASSWORD", "")}
    if any(key.startswith("POSTGRES_") for key in given):
        values["USER"] = given.get("POSTGRES_USER") or "postgres"
        values["NAME"] = given.get("POSTGRES_DB") or values["USER"]
    return {
        f"{prefix}_{key}": value
        for prefix in ("DB", "KTRDR_DB")
        for key, value in values.items()
        if value and env_file.is_portable(value)
    }


def _about_values(instance: Instance, settings: Settings, call: ComposeCall) -> Iterator[Notice]:
    """Values that a file may want and does not get."""
    main = instance.parent_repo
    # Compose reads `.env`, which git usually ignores, so that a new worktree has none.
    is_left_behind = main and not settings.env_files and not (instance.path / ".env").exists()
    if main and is_left_behind and (main / ".env").is_file():
        text = (
            f"{main / '.env'} is not in this checkout, so that nothing in it is set here. A line "
            ".env in .worktreeinclude brings it along with 'create'; an empty .env ends this note"
        )
        yield Notice("", text)
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in call.files)
    used = sorted({name for text in texts for name in _USES_HOST_SIDE.findall(text)})
    if used:  # containers get what they would get without us
        text = (
            f"{' and '.join(used)} of .env.sandbox: for programs on this machine alone. In the "
            "Compose file it is what plain Compose gives, such as the file's default"
        )
        yield Notice("", text)


def _dropped(environment: Mapping[str, str], settings: Settings) -> Iterator[Notice]:
    """Variables of Compose that do not reach it: they may have been meant for another project."""
    names = [
        f"{name} (the setting {_SETTINGS[name]} does that)" if name in _SETTINGS else name
        for name in sorted(environment)
        if name.startswith("COMPOSE_")
        and name not in ("COMPOSE_PROJECT_NAME", "COMPOSE_PATH_SEPARATOR")
        and not getattr(settings, _SETTINGS.get(name, ""), None)
    ]
    if names:
        yield Notice("", f"set in your shell and not passed on to Compose: {', '.join(names)}")


def _is_empty(path: Path) -> bool:
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return False


def _occupied_subnets(networks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """CIDRs that the host routes, VPNs included, and those of other people's engine networks.

    `networks` are the engine's, with their subnets. Those of instances do not count: they come from
    the same pool, each from its own slot's part. macOS tells no routes.
    """
    occupied: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            # Hexadecimal in the host's byte order: little-endian wherever Docker runs.
            destination, mask = (
                ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(fields[place]), "little"))
                for place in (1, 7)
            )
            if int(mask):  # the default route covers everything and means nothing
                occupied.add(str(ipaddress.ip_network(f"{destination}/{mask}", strict=False)))
    occupied.difference_update(*networks.values())
    for name, subnets in networks.items():
        if not name.startswith(ID_PREFIX):
            occupied.update(subnet for subnet in subnets if ":" not in subnet)
    return tuple(sorted(occupied))


def write_down(context: Context, composition: Composition) -> None:
    """Put override, port variables and folders in place before the engine sees the stack.

    Missing bind sources of our own are made writable by whatever user a container runs as: the
    engine would create them owned by root, and KTRDR's backend, uid 1000, crash-loops on a `logs/`
    it cannot write. Raises `cannot-write`.
    """
    instance = composition.instance
    replace_file(context.home.state_of(instance.id) / OVERRIDE, composition.override, mode=0o600)
    env_file.update(instance.env_file, composition.isolation.env)
    make_shared_folders(context.home)
    for source in composition.isolation.bind_sources:
        try:
            missing = [p for p in (source.path, *source.path.parents) if not p.exists()]
            source.path.mkdir(parents=True, exist_ok=True)
            for path in missing if source.own else ():
                path.chmod(0o777)
        except OSError as error:
            told = cannot_write(source.path, error)
            told.hints += ("The Compose file mounts it: make it, or change the file.",)
            raise told from error
