"""The database answers a real query."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import Final

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import DISK_FULL, FREE_SPACE, REMOVE_VOLUMES
from ktrdr_sandbox.gate.check import Check, Verdict, lost, runs
from ktrdr_sandbox.gate.health import last_line
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Run, Snapshot, monotonic

# Everything secret stays inside the container: the script is constant and reads what the image's
# own start-up read. It goes to the container's address and not to the socket or to localhost,
# because those are trusted without a password, and because the server that the official image
# runs during its first initialisation listens on the socket alone and is about to go away. The
# server itself has noted on which port it listens, in the fourth line of its pid file.
CONNECT_SCRIPT: Final = r"""
value() {
  eval "text=\${$1-} file=\${$1_FILE-}"
  if [ -n "$file" ]; then cat "$file"; else printf '%s' "$text"; fi
}
LC_ALL=C PGCONNECT_TIMEOUT=2
export LC_ALL PGCONNECT_TIMEOUT
host=$(hostname 2>/dev/null || cat /etc/hostname)
user=$(value POSTGRES_USER)
user=${user:-postgres}
database=$(value POSTGRES_DB)
database=${database:-$user}
PGPASSWORD=$(value POSTGRES_PASSWORD)
export PGPASSWORD
port=$(sed -n 4p "${PGDATA:-/var/lib/postgresql/data}/postmaster.pid" 2>/dev/null)
[ -z "$port" ] || export PGPORT="$port"
"""

# A second or two of knocking inside saves as many starts of `docker exec`, which cost far more.
QUERY_SCRIPT: Final = rf"""{CONNECT_SCRIPT}
if ! command -v psql >/dev/null 2>&1; then
  command -v pg_isready >/dev/null 2>&1 || exit 97
  pg_isready -h "$host" && exit 98
  exit 1
fi
knocks=0
while :; do
  answer=$(psql -XqtAw -h "$host" -U "$user" -d "$database" -c 'SELECT 1' 2>&1)
  [ "$answer" = 1 ] && echo "port ${{PGPORT:-5432}}" && exit 0
  knocks=$((knocks + 1))
  [ "$knocks" -lt 15 ] || break
  case $answer in
    *refused*|*'starting up'*) sleep 0.1 2>/dev/null || sleep 1 ;;
    *) break ;;
  esac
done
printf '%s\n' "$answer"
exit 1
"""
_NO_CLIENT: Final = (97, 126, 127)
_READY_UNASKED: Final = 98
LIMIT: Final = 10.0  # seconds that the script may take; by itself it ends in two to four

# Seconds after which a refusal is believed: an image may set a password, or make a role or a
# database, just after it listens.
CONFIRMED_AFTER: Final = 1.0
_REFUSALS: Final = {  # what the server says, and what the volume was then made with
    r"password authentication failed": "another password",
    r'role "[^"]*" does not exist': "another user",
    r'database "[^"]*" does not exist': "another database name",
}


@dataclass(eq=False)
class DatabaseCheck(Check):
    """`SELECT 1` in each container of each database service, with the container's own password."""

    name = "database"
    ready_title = "Database ready"
    failed_title = "Database not ready"
    services: tuple[str, ...]
    _refused: dict[Run, float] = field(default_factory=dict)
    _without_client: set[Run] = field(default_factory=set)

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(*self.services)
        if failed:
            return lost(failed)
        statuses = snapshot.of(*self.services)
        unstarted = tuple(one for one in statuses if one.condition != "running")
        if unstarted:
            doing = f"waiting for {unstarted[0].label} to start"
            return Verdict("waiting", doing, tuple(s.fact for s in unstarted), self.services)
        answers = await asyncio.gather(
            *(self._query(one, one.detail) for one in statuses if one.detail is not None)
        )
        facts = tuple(fact for answer in answers for fact in answer.facts)
        bad = [answer for answer in answers if answer.outcome != "passed"]
        if not bad:
            return Verdict("passed", facts=facts, proof=runs(statuses))
        services = tuple(dict.fromkeys(name for answer in bad for name in answer.services))
        worst = next((answer for answer in bad if answer.outcome == "failed"), bad[0])
        doing = "waiting for an answer to SELECT 1"
        return replace(worst, doing=doing, facts=facts, services=services)

    async def _query(self, status: ContainerStatus, detail: ContainerDetail) -> Verdict:
        """The verdict on one container."""
        run = (detail.id, detail.started_at)
        if run in self._without_client:
            return self._by_its_own_test(status, detail)
        argv = ("/bin/sh", "-c", QUERY_SCRIPT)
        try:
            result = await in_background(
                lambda: self.watch.engine.execute(detail.id, argv, timeout=LIMIT)
            )
        except SandboxError as error:
            return Verdict("waiting", facts=(error.message,), services=(status.service,))
        if result.exit_code in (0, _READY_UNASKED):
            self._refused.pop(run, None)
            self.watch.health.proven(detail)
            return Verdict("passed", facts=self._notes(status, result))
        if result.exit_code in _NO_CLIENT:
            self._without_client.add(run)
            return self._by_its_own_test(status, detail)
        return self._refusal(status, detail, result)

    def _notes(self, status: ContainerStatus, result: ExecResult) -> tuple[str, ...]:
        """What is worth knowing of a database that answers."""
        if result.exit_code == _READY_UNASKED:
            return (f"{status.label} has no psql: pg_isready was asked instead of SELECT 1",)
        said = last_line(result.output).removeprefix("port ")
        ports = [one for one in self.request.stack.ports if one.service == status.service]
        targets = {port.target for port in ports if port.protocol == "tcp"}
        if not said.isdecimal() or not targets or int(said) in targets:
            return ()
        shown = ", ".join(map(str, sorted(targets)))
        told = f"PostgreSQL in {status.label} listens on {said}, and the Compose file publishes"
        way_out = f"from this machine nobody reaches it until the file publishes {said}"
        return (f"{told} {shown}: {way_out}",)

    def _by_its_own_test(self, status: ContainerStatus, detail: ContainerDetail) -> Verdict:
        """An image without PostgreSQL's tools: its own health test is the best that there is."""
        health = self.watch.health
        health.left_to_others -= {status.service}
        known = health.status(detail)
        if known.healthy:
            known_by = "its own health test" if detail.health_test else "its running container"
            fact = f"{status.label} has no psql: {known_by} was taken for an answer"
            return Verdict("passed", facts=(fact,))
        fact = f"{status.label}: {known.trouble or 'its health test is under way'}"
        if not known.hopeless:
            return Verdict("waiting", facts=(fact,), services=(status.service,))
        cause = known.cause or "it cannot become healthy"
        return Verdict("failed", facts=(fact,), services=(status.service,), cause=cause)

    def _refusal(
        self, status: ContainerStatus, detail: ContainerDetail, result: ExecResult
    ) -> Verdict:
        fact = f"SELECT 1 in {status.label} failed: {last_line(result.output) or 'no answer'}"
        if result.exit_code is None:
            fact = f"SELECT 1 in {status.label} took longer than {LIMIT:g} s"
        waiting = Verdict("waiting", facts=(fact,), services=(status.service,))
        if "no space left on device" in result.output.lower():
            return replace(waiting, outcome="failed", cause=DISK_FULL, next_command=FREE_SPACE)
        others = [what for said, what in _REFUSALS.items() if re.search(said, result.output)]
        if not others:
            return waiting
        first = self._refused.setdefault((detail.id, detail.started_at), monotonic())
        if monotonic() - first < CONFIRMED_AFTER:
            return waiting
        # Anonymous volumes have 64 hexadecimal digits for a name.
        named = [name for name in detail.volumes if name and len(name) != 64]
        volume = f"the volume {', '.join(named)}" if named else "the database's volume"
        cause = f"{volume} was made with {others[0]}"
        return replace(waiting, outcome="failed", cause=cause, next_command=REMOVE_VOLUMES)
