"""Whether and how a stack's schema is brought to the head of the checkout's revisions."""

from __future__ import annotations

import ipaddress
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ktrdr_sandbox.commands.alembic_files import CONFIG, AlembicFiles, alembic_files
from ktrdr_sandbox.commands.compose_project import Composition
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import ComposeCall, Container, ContainerDetail, Engine, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.files import replace_file
from ktrdr_sandbox.gate.database import CONNECT_SCRIPT
from ktrdr_sandbox.gate.migrations import COMMAND, NO_ALEMBIC
from ktrdr_sandbox.isolation.request import Notice
from ktrdr_sandbox.models import Instance, Stack

# Laid over the override for the one-off container alone. JSON is YAML, and quotes any path.
FILE: Final = "migration.json"
OUTPUT_LINES: Final = 2000
_HOOKS: Final = ("post_start", "pre_start")

# Not `uvicorn --reload-exclude alembic`.
_RUNS_ALEMBIC: Final = re.compile(
    r"(?<![\w./-])(?<!exclude[ =])(?<!include[ =])(?<!-dir[ =])[\w./-]*alembic"
)
_QUESTION_TIME: Final = 10.0
_START_TIME: Final = 30.0  # for a start under way to end, before its container is removed

# Alembic comes with the application's packages: on PATH, in a virtual environment of the working
# directory, or only as a module.
HAS_SCRIPT: Final = """
command -v alembic || [ -x .venv/bin/alembic ] && exit 0
for python in python3 python; do "$python" -c 'import alembic.config' && exit 0; done
exit 1
"""
RUN_SCRIPT: Final = f"""
command -v alembic >/dev/null 2>&1 && exec {COMMAND}
[ -x .venv/bin/alembic ] && exec .venv/bin/{COMMAND}
for python in python3 python; do
  if "$python" -c 'import alembic.config' >/dev/null 2>&1; then exec "$python" -m {COMMAND}; fi
done
echo 'this image has no alembic' >&2
exit {NO_ALEMBIC}
"""
_PSQL: Final = f'{CONNECT_SCRIPT}\nexec psql -XqtAw -h "$host" -U "$user" -d "$database" -c '
_VERSION: Final = "SELECT version_num FROM alembic_version"
VERSION_SCRIPT: Final = f"{_PSQL}'{_VERSION}'"

# PostgreSQL goes on with the statement of a client that is gone, and its locks stay as long: the
# next migration would wait for them.
_END_SESSIONS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_addr = "
    "ANY (string_to_array('$1', ',')::inet[])"
)
END_SCRIPT: Final = f'{_PSQL}"{_END_SESSIONS}"'


@dataclass(kw_only=True)
class SchemaMigration:
    """A `gate.result.Migration`. `end` must follow, whatever happened meanwhile.

    `head` is the revision that the database must have for nothing to be done, None to run always.
    """

    engine: Engine
    call: ComposeCall
    uuid: str
    name: str
    service: str
    required: bool
    only_checked: bool = False
    backend: str
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

    def has_alembic(self) -> bool:
        argv = ("/bin/sh", "-c", HAS_SCRIPT)
        return self.engine.execute(self.backend, argv, timeout=_QUESTION_TIME).exit_code == 0

    def start(self) -> str:
        argv = ("/bin/sh", "-c", RUN_SCRIPT)
        with self._starting:
            if self._over:
                raise SandboxError("interrupted", "The start-up is over.")
            self._begun = True
            return self.engine.compose_run(self.call, self.service, argv, name=self.name)

    def end(self) -> tuple[str, ...]:
        """Remove the container, running or not, and return what it printed.

        A start under way is waited for: it would leave a container behind. When the engine fails,
        the next start removes it.
        """
        held = self._starting.acquire(timeout=_START_TIME)
        self._over = True
        if held:
            self._starting.release()
        if not self._begun:
            return ()
        try:
            found = _one_offs(self.engine.containers(uuid=self.uuid), self.uuid, self.name)
            output = [line for one in found for line in self.engine.logs(one.id, tail=OUTPUT_LINES)]
            _remove(self.engine, found, [self.database] if self.database is not None else [])
        except SandboxError:
            return ()
        return tuple(output)


def end_left_over(
    engine: Engine, instance: Instance, containers: Sequence[Container], stack: Stack
) -> None:
    """Remove the one-off container of a start-up that was killed; PostgreSQL undoes its work."""
    names = [service.name for service in stack.with_role("db")]
    own = [one for one in containers if one.uuid == instance.uuid]
    databases = [one.id for one in own if one.service in names and one.state == "running"]
    _remove(engine, _one_offs(own, instance.uuid, f"{instance.id}-migration"), databases)


def _one_offs(containers: Sequence[Container], uuid: str, name: str) -> tuple[Container, ...]:
    return tuple(one for one in containers if one.oneoff and (one.uuid, one.name) == (uuid, name))


def _remove(engine: Engine, found: tuple[Container, ...], databases: Sequence[str]) -> None:
    running = [one.id for one in found if one.state == "running"]
    networks = [
        network
        for one in (engine.describe(running) if databases else ())
        for network in ((one.get("NetworkSettings") or {}).get("Networks") or {}).values()
    ]
    given = [net.get(key) for net in networks for key in ("IPAddress", "GlobalIPv6Address")]
    # Checked, for they become part of a query.
    addresses = [str(ipaddress.ip_address(address)) for address in given if address]
    if addresses:
        argv = ("/bin/sh", "-c", END_SCRIPT, "sh", ",".join(addresses))
        for database in databases:
            engine.execute(database, argv, timeout=_QUESTION_TIME)
    if found:
        engine.remove(Resources(containers=found), grace=0)


def plan_migration(
    context: Context, composition: Composition, engine: Engine, *, only_checked: bool = False
) -> tuple[SchemaMigration | None, tuple[Notice, ...]]:
    """Plan the migration of a stack whose containers were created; None, and why, without one.

    Nothing is said where nothing could be expected: without an `alembic.ini`, and where the stack
    migrates itself. `only_checked`: the schema is looked at and not changed, so there is no plan
    where it cannot be read. Raises `cannot-write`.
    """
    mode, instance = composition.settings.migrate, composition.instance
    if mode == "never" or not (instance.path / CONFIG).is_file():
        return None, ()
    stack, services = composition.isolation.stack, composition.model["services"]
    found = engine.containers(uuid=instance.uuid)
    details = engine.inspect([one.id for one in found if one.service and not one.oneoff])
    backends, databases = (
        {one.name for one in stack.with_role(role) if one.replicas} for role in ("backend", "db")
    )
    backend = next((one for one in details if one.service in backends), None)
    database = next((one for one in details if one.service in databases), None)
    if backend is None:
        return None, (Notice(service=None, text=f"{CONFIG} is not applied: there is no backend"),)
    if mode == "auto":
        # Some container of the stack, by its command or in a hook, runs alembic.
        hooks = [services[one.name].get(key) for one in stack.active for key in _HOOKS]
        texts = [" ".join(one.command) for one in details] + [json.dumps(one) for one in hooks]
        if any(_RUNS_ALEMBIC.search(text) for text in texts):
            return None, ()
        obstacle = _obstacle(backend, database, services)
        if obstacle:
            advice = f'{obstacle}: not migrated (setting migrate = "always" does it)'
            return None, (Notice(service=backend.service, text=advice),)
    files = alembic_files(instance.path, working_dir=backend.working_dir)
    path = context.home.state_of(instance.id) / FILE
    certain = mode == "auto" and files and database and _asks_the_same(database, backend)
    plan = SchemaMigration(
        engine=engine,
        call=replace(composition.call, files=(*composition.call.files, path)),
        uuid=instance.uuid,
        name=f"{instance.id}-migration",
        service=backend.service,
        required=mode == "always",
        only_checked=only_checked,
        backend=backend.id,
        database=None if database is None else database.id,
        head=files.head if certain and files is not None else None,
    )
    if only_checked:
        return (plan if plan.head is not None else None), ()
    document = {"services": {backend.service: _one_off_service(instance.path, files, backend)}}
    replace_file(path, json.dumps(document, indent=2) + "\n", mode=0o600)
    return plan, ()


def _obstacle(
    backend: ContainerDetail,
    database: ContainerDetail | None,
    services: Mapping[str, Mapping[str, Any]],
) -> str | None:
    """Why it would be wrong to migrate without being told to: a database of somebody else."""
    if database is None:
        return "the stack has no database of its own"
    own = names_of(database.service, services)
    hosts = address_in(backend.environment)["hosts"]
    foreign = sorted(host for host in hosts if host.lower() not in own)
    return f"its database is {', '.join(foreign)}, not this stack's" if foreign else None


def _one_off_service(
    root: Path, files: AlembicFiles | None, backend: ContainerDetail
) -> dict[str, Any]:
    """What the one-off container has beyond the backend: the migrations where it works."""
    if files is None:
        return {}
    target = PurePosixPath(backend.working_dir)
    return {
        # The image is there: the stack was created from it. Nobody asks after this one's health.
        "pull_policy": "never",
        "healthcheck": {"disable": True},
        "volumes": [
            {
                "type": "bind",
                "source": str(root / path).replace("$", "$$"),
                "target": str(target / path).replace("$", "$$"),
                "read_only": True,
                "bind": {"create_host_path": False},
            }
            for path in (PurePosixPath(CONFIG), *files.folders)
        ],
    }


def _asks_the_same(database: ContainerDetail, backend: ContainerDetail) -> bool:
    """Whether the revision that psql finds in the database's container is that of the backend's."""
    given, wanted = database.environment, address_in(backend.environment)
    if any(key.startswith("POSTGRES_") and key.endswith("_FILE") for key in given):
        return False
    user = given.get("POSTGRES_USER") or "postgres"
    return wanted["names"] == {given.get("POSTGRES_DB") or user} and wanted["users"] <= {user}


_URL: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SUFFIXES: Final = {
    "hosts": r"(?:.*_)?(?:DB|DATABASE|POSTGRES|PG)_?HOST",
    "names": r"(?:.*_)?(?:DB_NAME|DATABASE_NAME|POSTGRES_DB|PGDATABASE)",
    "users": r"(?:.*_)?(?:(?:DB|DATABASE|POSTGRES)_USER(?:NAME)?|PGUSER)",
}


def address_in(environment: Mapping[str, str]) -> dict[str, set[str]]:
    """Give the `hosts`, database `names` and `users` that some variable gives.

    From `DB_HOST`, `KTRDR_DB_NAME`, `PGUSER`, `DATABASE_URL=postgresql://...` and their like.
    """
    found: dict[str, set[str]] = {part: set() for part in _SUFFIXES}
    for key, value in environment.items():
        if not _URL.match(value):
            for part, pattern in _SUFFIXES.items():
                if re.fullmatch(pattern, key.upper()):
                    found[part].add(value)
            continue
        try:
            parts = urlsplit(value)
        except ValueError:
            found["hosts"].add(value)  # whatever it means, it is no name of ours
            continue
        found["hosts"].add(parts.hostname or "")
        found["names"].add(unquote(parts.path.lstrip("/")))
        found["users"].add(unquote(parts.username or ""))
    return {part: values - {""} for part, values in found.items()}


def names_of(service: str, services: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Give every name, in lower case, under which containers of a model reach a service of it."""
    body = services[service]
    names = [service, body.get("hostname"), body.get("container_name")]
    networks = body.get("networks") or {}
    if isinstance(networks, Mapping):
        names += [alias for one in networks.values() for alias in (one or {}).get("aliases") or ()]
    links = [str(link) for one in services.values() for link in one.get("links") or ()]
    names += [alias for target, _, alias in (x.partition(":") for x in links) if target == service]
    return frozenset(str(name).lower() for name in names if name)
