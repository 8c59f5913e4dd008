"""From an instance to the Compose call that all commands share, with its override in place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ktrdr_sandbox.durable import cannot_write, replace_file
from ktrdr_sandbox.engine.environment import child_environment
from ktrdr_sandbox.engine.interface import Engine
from ktrdr_sandbox.engine.records import ComposeCall
from ktrdr_sandbox.env_file import writer
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.isolation.isolate import isolate
from ktrdr_sandbox.isolation.render import render
from ktrdr_sandbox.isolation.request import IsolationRequest
from ktrdr_sandbox.isolation.result import BindSource, Isolation, Notice
from ktrdr_sandbox.lifecycle.checkout import compose_project
from ktrdr_sandbox.lifecycle.env_files import current_values
from ktrdr_sandbox.lifecycle.home_id import home_id
from ktrdr_sandbox.lifecycle.host_routes import occupied_subnets
from ktrdr_sandbox.lifecycle.image_inputs import BuildInput, build_inputs
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.questions import asked
from ktrdr_sandbox.shared.layout import (
    make_shared_folders,
    shared_folders,
    shared_variables,
)
from ktrdr_sandbox.slots.port_map import extra_ports, get_ports

if TYPE_CHECKING:
    from ktrdr_sandbox.settings import AnySettings

OVERRIDE = "override.yml"
_HOST_SIDE: Final = re.compile(r"(?<!\$)\$\{?(DB_HOST|DB_PORT)\b")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """An instance's stack, isolated: the call to make, and what isolation found and changed."""

    instance: Instance
    settings: AnySettings
    call: ComposeCall
    model: Mapping[str, Any]
    """The checkout's own model, resolved, before isolation."""
    isolation: Isolation
    override: str
    images: frozenset[str]
    """References of the images the engine had at that moment."""
    inputs: tuple[BuildInput, ...]
    """What the stack's own images are built from."""


def base_call(place: Workplace, instance: Instance, settings: AnySettings) -> ComposeCall:
    """The call on the checkout's own files, without the override.

    Raises `compose-file-missing`, `env-file-damaged`, `no-such-instance` when
    the directory is gone.
    """
    values = current_values(place, instance)
    project = compose_project(instance.path, configured=settings.compose_file)
    return ComposeCall(
        project=instance.id,
        directory=project.directory,
        files=project.files,
        env_files=(*project.env_files, instance.env_file),
        environment={
            **child_environment(
                place.environment,
                address=instance.engine,
                file_values=values,
                paths=shared_variables(place.home),
            ),
            # ${PWD} in a file is where plain Compose is run, not where this program happens to be:
            # that may be another instance's worktree.
            "PWD": str(instance.path),
        },
    )


def compose(place: Workplace, instance: Instance, engine: Engine) -> Composition:
    """Resolve the checkout's model and lay isolation over it. Writes nothing.

    Raises what `base_call` does, `compose-file-invalid`, and `isolation-refused`.
    """
    settings = place.settings(instance.path)
    base = base_call(place, instance, settings)
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
        home_id=home_id(place.home),
        unresolved=unresolved,
        bind_address=settings.bind_address,
        ports=get_ports(instance.slot),
        extra_ports=extra_ports(instance.slot),
        parent_checkout=instance.parent_repo,
        compose_directory=base.files[0].resolve().parent,
        shared=shared_folders(place.home),
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
        call=replace(base, files=(*base.files, place.home.state_of(instance.id) / OVERRIDE)),
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


def refuse(isolation: Isolation) -> None:
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


def write_down(place: Workplace, composition: Composition) -> None:
    """Put override, port variables and folders in place before the engine sees the stack.

    Raises `cannot-write`.
    """
    instance = composition.instance
    replace_file(place.home.state_of(instance.id) / OVERRIDE, composition.override, mode=0o600)
    writer.update(instance.env_file, composition.isolation.env)
    make_shared_folders(place.home)
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
