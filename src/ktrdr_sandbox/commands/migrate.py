"""Which database a container's environment speaks of, as far as its variables tell."""

from __future__ import annotations

import ipaddress
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox.commands.alembic_files import CONFIG, AlembicFiles, alembic_files
from ktrdr_sandbox.commands.compose_project import Composition
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import ComposeCall, Container, ContainerDetail, Engine, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.gate.checks.database import CONNECT_SCRIPT
from ktrdr_sandbox.gate.migration import COMMAND, NO_ALEMBIC
from ktrdr_sandbox.isolation.request import Notice
from ktrdr_sandbox.models import Instance, Stack

FILE: Final = "migration.json"
"""Laid over the override for the one-off container alone. JSON is YAML, and quotes any path."""

OUTPUT_LINES: Final = 2000

# Not `uvicorn --reload-exclude alembic`.
_RUNS_ALEMBIC: Final = re.compile(
    r"(?<![\w./-])(?<!exclude[ =])(?<!include[ =])(?<!-dir[ =])[\w./-]*alembic"
)
_QUESTION_TIME: Final = 10.0
_START_TIME: Final = 30.0
"""Seconds that a start under way gets to end before its container is looked for and removed."""

# Alembic comes with the application's packages: on PATH, in a virtual environment of the working
# directory, or only as a module.
RUN_SCRIPT: Final = f"""
command -v alembic >/dev/null 2>&1 && exec {COMMAND}
[ -x .venv/bin/alembic ] && exec .venv/bin/{COMMAND}
for python in python3 python; do
  if "$python" -c 'import alembic.config' >/dev/null 2>&1; then exec "$python" -m {COMMAND}; fi
done
echo 'this image has no alembic' >&2
exit {NO_ALEMBIC}
"""
_QUESTION: Final = "SELECT version_num FROM alembic_version"
VERSION_SCRIPT: Final = "\n".join(
    (CONNECT_SCRIPT, f"""exec psql -XqtAw -h "$host" -U "$user" -d "$database" -c '{_QUESTION}'""")
)

# PostgreSQL goes on with the statement of a client that is gone, and its locks stay as long: the
# next migration would wait for them.
_END_SESSIONS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_addr = "
    "ANY (string_to_array('$1', ',')::inet[])"
)
END_SCRIPT: Final = "\n".join(
    (
        CONNECT_SCRIPT,
        f"""exec psql -XqtAw -h "$host" -U "$user" -d "$database" -c "{_END_SESSIONS}\"""",
    )
)


@dataclass(kw_only=True)
class SchemaMigration:
    """A `gate.migration.Migration`. `end` must follow, whatever happened meanwhile.

    `head` is the revision that the database must have for nothing to be done, None to run always.
    """

    engine: Engine
    call: ComposeCall
    uuid: str
    name: str
    service: str
    required: bool
    database: str | None
    head: str | None
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _begun: bool = False
    _over: bool = False

    def is_applied(self) -> bool:
        if self.head is None or self.database is None:
            return False
        argv = ("/bin/sh", "-c", VERSION_SCRIPT)
        answer = self.engine.execute(self.database, argv, timeout=_QUESTION_TIME)
        return answer.exit_code == 0 and answer.output.split() == [self.head]

    def start(self) -> str:
        argv = ("/bin/sh", "-c", RUN_SCRIPT)
        with self._starting:
            if self._over:
                raise SandboxError("interrupted", "The start-up is over.")
            self._begun = True
            return self.engine.compose_run(self.call, self.service, argv, name=self.name)

    def end(self) -> tuple[str, ...]:
        """Remove the container, running or not, and return what it printed.

        A start under way in another thread is waited for: it would leave a container behind. When
        the engine fails, the next start removes it: what led here matters more than that.
        """
        held = self._starting.acquire(timeout=_START_TIME)
        self._over = True
        if held:
            self._starting.release()
        if not self._begun:
            return ()
        try:
            return self._remove()
        except SandboxError:
            return ()

    def _remove(self) -> tuple[str, ...]:
        found = _one_offs(self.engine.containers(uuid=self.uuid), self.uuid, self.name)
        output = [line for one in found for line in self.engine.logs(one.id, tail=OUTPUT_LINES)]
        _remove(self.engine, found, [self.database] if self.database is not None else [])
        return tuple(output)


def end_left_over(
    engine: Engine, instance: Instance, containers: Sequence[Container], stack: Stack
) -> None:
    """Remove the one-off container of a start-up that was killed; PostgreSQL undoes its work."""
    names = [service.name for service in stack.with_role("db")]
    own = [one for one in containers if one.uuid == instance.uuid]
    databases = [one.id for one in own if one.service in names and one.state == "running"]
    _remove(engine, _one_offs(own, instance.uuid, _name(instance)), databases)


def _one_offs(containers: Sequence[Container], uuid: str, name: str) -> tuple[Container, ...]:
    return tuple(one for one in containers if one.oneoff and (one.uuid, one.name) == (uuid, name))


def _remove(engine: Engine, found: tuple[Container, ...], databases: Sequence[str]) -> None:
    running = [one.id for one in found if one.state == "running"]
    addresses = _addresses(engine.describe(running)) if databases else []
    if addresses:
        argv = ("/bin/sh", "-c", END_SCRIPT, "sh", ",".join(addresses))
        for database in databases:
            engine.execute(database, argv, timeout=_QUESTION_TIME)
    if found:
        engine.remove(Resources(containers=found), grace=0)


def _addresses(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """Under which the containers reach others; checked, for they become part of a query."""
    networks = [
        network
        for one in described
        for network in ((one.get("NetworkSettings") or {}).get("Networks") or {}).values()
    ]
    given = [net.get(key) for net in networks for key in ("IPAddress", "GlobalIPv6Address")]
    return [str(ipaddress.ip_address(address)) for address in given if address]


def _name(instance: Instance) -> str:
    return f"{instance.id}-migration"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a decision rests on."""

    services: Mapping[str, Mapping[str, Any]]
    stack: Stack
    details: tuple[ContainerDetail, ...]
    backend: ContainerDetail
    database: ContainerDetail | None


def plan_migration(
    context: Context, composition: Composition, engine: Engine
) -> tuple[SchemaMigration | None, tuple[Notice, ...]]:
    """The migration of a stack whose containers were created, or None and why not.

    Nothing is said where nothing could be expected: without an `alembic.ini`, and where the stack
    migrates itself. Raises `cannot-write`.
    """
    mode, root = composition.settings.migrate, composition.instance.path
    if mode == "never" or not (root / CONFIG).is_file():
        return None, ()
    facts = _facts(composition, engine)
    if facts is None:
        return None, (Notice(service=None, text=f"{CONFIG} is not applied: there is no backend"),)
    if mode == "auto":
        if _migrates_itself(facts):
            return None, ()
        obstacle = _obstacle(facts)
        if obstacle:
            return None, (Notice(service=facts.backend.service, text=obstacle),)
    return _migration(context, composition, engine, facts), ()


def _facts(composition: Composition, engine: Engine) -> _Facts | None:
    stack = composition.isolation.stack
    found = engine.containers(uuid=composition.instance.uuid)
    details = engine.inspect([one.id for one in found if one.service and not one.oneoff])
    backends = [one.name for one in stack.with_role("backend") if one.replicas]
    backend = next((one for one in details if one.service in backends), None)
    if backend is None:
        return None
    databases = [one.name for one in stack.with_role("db") if one.replicas]
    return _Facts(
        services=composition.model["services"],
        stack=stack,
        details=details,
        backend=backend,
        database=next((one for one in details if one.service in databases), None),
    )


def _migrates_itself(facts: _Facts) -> bool:
    """Some container of the stack, by its command or in a hook, runs alembic."""
    commands = [" ".join(detail.command) for detail in facts.details]
    hooks = [
        json.dumps([facts.services[service.name].get(key) for key in ("post_start", "pre_start")])
        for service in facts.stack.active
    ]
    return any(_RUNS_ALEMBIC.search(text) for text in (*commands, *hooks))


def _obstacle(facts: _Facts) -> str | None:
    """Why it would be wrong to migrate without being told to: a database of somebody else."""
    advice = 'not migrated (setting migrate = "always" does it)'
    if facts.database is None:
        return f"the stack has no database of its own: {advice}"
    own = names_of(facts.database.service, facts.services)
    hosts = address_in(facts.backend.environment).hosts
    foreign = sorted(host for host in hosts if host.lower() not in own)
    return f"its database is {', '.join(foreign)}, not this stack's: {advice}" if foreign else None


def _migration(
    context: Context, composition: Composition, engine: Engine, facts: _Facts
) -> SchemaMigration:
    instance, required = composition.instance, composition.settings.migrate == "always"
    files = alembic_files(instance.path, working_dir=facts.backend.working_dir)
    path = context.home.state_of(instance.id) / FILE
    document = {"services": {facts.backend.service: _one_off_service(files, facts.backend)}}
    replace_file(path, json.dumps(document, indent=2) + "\n", mode=0o600)
    known = not required and files is not None and _asks_the_same_database(facts)
    return SchemaMigration(
        engine=engine,
        call=replace(composition.call, files=(*composition.call.files, path)),
        uuid=instance.uuid,
        name=_name(instance),
        service=facts.backend.service,
        required=required,
        database=None if facts.database is None else facts.database.id,
        head=files.head if known and files is not None else None,
    )


def _one_off_service(files: AlembicFiles | None, backend: ContainerDetail) -> dict[str, Any]:
    """What the one-off container has beyond the backend: the migrations where it works."""
    if files is None:
        return {}
    target = PurePosixPath(backend.working_dir)
    paths = (PurePosixPath(CONFIG), *files.folders)
    return {
        # The image is there: the stack was created from it. Nobody asks after this one's health.
        "pull_policy": "never",
        "healthcheck": {"disable": True},
        "volumes": [
            {
                "type": "bind",
                "source": str(files.root / path).replace("$", "$$"),
                "target": str(target / path).replace("$", "$$"),
                "read_only": True,
                "bind": {"create_host_path": False},
            }
            for path in paths
        ],
    }


def _asks_the_same_database(facts: _Facts) -> bool:
    """Whether the revision that psql finds in the database's container is that of the backend's."""
    if facts.database is None:
        return False
    given, wanted = facts.database.environment, address_in(facts.backend.environment)
    if any(key.endswith("_FILE") for key in given if key.startswith("POSTGRES_")):
        return False
    user = given.get("POSTGRES_USER") or "postgres"
    name = given.get("POSTGRES_DB") or user
    return wanted.names == {name} and wanted.users <= {user}


_URL: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SUFFIXES: Final = {
    "hosts": re.compile(r"(?:.*_)?(?:DB|DATABASE|POSTGRES|PG)_?HOST"),
    "names": re.compile(r"(?:.*_)?(?:DB_NAME|DATABASE_NAME|POSTGRES_DB|PGDATABASE)"),
    "users": re.compile(r"(?:.*_)?(?:(?:DB|DATABASE|POSTGRES)_USER(?:NAME)?|PGUSER)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """All hosts, database names and users that some variable gives."""

    hosts: frozenset[str]
    names: frozenset[str]
    users: frozenset[str]


def address_in(environment: Mapping[str, str]) -> DatabaseAddress:
    """From `DB_HOST`, `KTRDR_DB_NAME`, `PGUSER`, `DATABASE_URL=postgresql://...` and their like."""
    found: dict[str, set[str]] = {part: set() for part in _SUFFIXES}
    for key, value in environment.items():
        if _URL.match(value):
            _add_url(found, value)
            continue
        for part, pattern in _SUFFIXES.items():
            if value and pattern.fullmatch(key.upper()):
                found[part].add(value)
    return DatabaseAddress(**{part: frozenset(values) for part, values in found.items()})


def _add_url(found: Mapping[str, set[str]], url: str) -> None:
    try:
        parts = urlsplit(url)
        values = (parts.hostname, unquote(parts.path.lstrip("/")), unquote(parts.username or ""))
    except ValueError:
        # Whatever it means, it is no name of ours.
        values = (url, "", "")
    for part, value in zip(("hosts", "names", "users"), values, strict=True):
        if value:
            found[part].add(value)


def names_of(service: str, services: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Every name, in lower case, under which containers of a model reach one of its services."""
    body = services[service]
    names = [service, body.get("hostname"), body.get("container_name")]
    networks = body.get("networks") or {}
    if isinstance(networks, Mapping):
        names += [alias for one in networks.values() for alias in (one or {}).get("aliases") or ()]
    links = [
        str(link).partition(":") for one in services.values() for link in one.get("links") or ()
    ]
    names += [alias for target, _, alias in links if target == service]
    return frozenset(str(name).lower() for name in names if name)
