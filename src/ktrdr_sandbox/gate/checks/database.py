"""The database answers a real query."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import DISK_FULL, FREE_SPACE, remove_volumes
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict, lost, runs
from ktrdr_sandbox.gate.health_test import health_trouble, last_line
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.gate.standing import Run, Standing

# Everything secret stays inside the container: the script is constant and reads what the image's
# own start-up read. It goes to the container's address and not to the socket or to localhost,
# because those are trusted without a password, and because the server that the official image
# runs during its first initialisation listens on the socket alone and is about to go away.
# A second or two of knocking inside saves as many starts of `docker exec`, which cost far more.
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
"""
QUERY_SCRIPT: Final = rf"""{CONNECT_SCRIPT}
if ! command -v psql >/dev/null 2>&1; then
  command -v pg_isready >/dev/null 2>&1 || exit 97
  pg_isready -h "$host" && exit 98
  exit 1
fi
knocks=0
while :; do
  answer=$(psql -XqtAw -h "$host" -U "$user" -d "$database" -c 'SELECT 1' 2>&1)
  [ "$answer" = 1 ] && exit 0
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
_ANSWERED: Final = 0
_NO_CLIENT: Final = frozenset((97, 126, 127))
_READY_UNASKED: Final = 98

LIMIT: Final = 10.0
"""Seconds that one run of the script may take; by itself it ends in two to four."""

CONFIRMED_AFTER: Final = 1.0
"""Seconds after which a refused password is believed: an image may set it just after it listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    standing: Standing
    kind: Literal["ready", "not yet", "password", "disk"]
    fact: str = ""


class DatabaseCheck:
    """`SELECT 1` in each container of each database service, with the container's own password.

    `verdict` is the latest, for the checks that need the database.
    """

    name: CheckName = "database"
    ready_title = "Database ready"
    failed_title = "Database not ready"

    def __init__(self, around: Surroundings, *, services: tuple[str, ...]) -> None:
        self._around = around
        self.verdict = Verdict(outcome="waiting", doing="waiting for the database")
        self._services = services
        self._refused: dict[Run, float] = {}

    async def probe(self) -> Verdict:
        self.verdict = await self._look()
        return self.verdict

    async def _look(self) -> Verdict:
        monitor = self._around.monitor
        snapshot = monitor.latest or await monitor.refresh()
        if snapshot is None:
            return Verdict(outcome="waiting", doing="waiting for the Docker engine's answer")
        failed = snapshot.failed(self._services)
        if failed:
            return lost(failed)
        standings = tuple(one for name in self._services for one in snapshot.of(name))
        unstarted = tuple(one for one in standings if one.condition != "running")
        if unstarted:
            return Verdict(
                outcome="waiting",
                doing=f"waiting for {unstarted[0].label} to start",
                facts=tuple(one.fact for one in unstarted),
                services=self._services,
            )
        return self._conclude(
            standings, await asyncio.gather(*(self._query(one) for one in standings))
        )

    async def _query(self, standing: Standing) -> _Finding:
        detail = standing.detail
        if detail is None:
            return _Finding(standing=standing, kind="not yet", fact=standing.fact)
        argv = ("/bin/sh", "-c", QUERY_SCRIPT)
        try:
            result = await in_background(
                lambda: self._around.engine.execute(detail.id, argv, timeout=LIMIT)
            )
        except SandboxError as error:
            return _Finding(standing=standing, kind="not yet", fact=error.message)
        return await self._understand(standing, detail, result)

    async def _understand(
        self, standing: Standing, detail: ContainerDetail, result: ExecResult
    ) -> _Finding:
        if result.exit_code == _ANSWERED:
            self._refused.pop((detail.id, detail.started_at), None)
            return _Finding(standing=standing, kind="ready")
        if result.exit_code == _READY_UNASKED:
            return _Finding(
                standing=standing,
                kind="ready",
                fact=f"{standing.label} has no psql: pg_isready was asked instead of SELECT 1",
            )
        if result.exit_code in _NO_CLIENT:
            return await self._without_client(standing, detail)
        return self._refusal(standing, detail, result)

    async def _without_client(self, standing: Standing, detail: ContainerDetail) -> _Finding:
        """An image without PostgreSQL's tools: its own health test is the best that there is."""
        trouble = await health_trouble(self._around.engine, detail)
        if trouble:
            return _Finding(standing=standing, kind="not yet", fact=f"{standing.label}: {trouble}")
        known_by = "its own health test" if detail.health_test else "its running container"
        return _Finding(
            standing=standing,
            kind="ready",
            fact=f"{standing.label} has no psql: {known_by} was taken for an answer",
        )

    def _refusal(self, standing: Standing, detail: ContainerDetail, result: ExecResult) -> _Finding:
        said = last_line(result.output) or "no answer"
        fact = f"SELECT 1 in {standing.label} failed: {said}"
        if result.exit_code is None:
            fact = f"SELECT 1 in {standing.label} took longer than {LIMIT:g} s"
        if "no space left on device" in result.output.lower():
            return _Finding(standing=standing, kind="disk", fact=fact)
        if "password authentication failed" in result.output and self._confirmed(detail):
            return _Finding(standing=standing, kind="password", fact=fact)
        return _Finding(standing=standing, kind="not yet", fact=fact)

    def _confirmed(self, detail: ContainerDetail) -> bool:
        now = asyncio.get_running_loop().time()
        first = self._refused.setdefault((detail.id, detail.started_at), now)
        return now - first >= CONFIRMED_AFTER

    def _conclude(self, standings: tuple[Standing, ...], findings: list[_Finding]) -> Verdict:
        facts = tuple(finding.fact for finding in findings if finding.fact)
        bad = [finding for finding in findings if finding.kind != "ready"]
        if not bad:
            return Verdict(outcome="passed", facts=facts, proof=runs(standings))
        blamed = tuple(dict.fromkeys(finding.standing.service for finding in bad))
        for finding in bad:
            if finding.kind != "not yet":
                return self._hopeless(finding, facts, blamed)
        return Verdict(
            outcome="waiting",
            doing="waiting for an answer to SELECT 1",
            facts=facts,
            services=blamed,
        )

    def _hopeless(
        self, finding: _Finding, facts: tuple[str, ...], blamed: tuple[str, ...]
    ) -> Verdict:
        if finding.kind == "disk":
            return Verdict(
                outcome="failed",
                facts=facts,
                services=blamed,
                cause=DISK_FULL,
                next_command=FREE_SPACE,
            )
        named = [name for name in _volumes(finding.standing) if name]
        volume = f"the volume {', '.join(named)}" if named else "the database's volume"
        return Verdict(
            outcome="failed",
            facts=facts,
            services=blamed,
            cause=f"{volume} was made with another password",
            next_command=remove_volumes(self._around.request.instance.name),
        )


def _volumes(standing: Standing) -> tuple[str, ...]:
    """Named volumes of the container; anonymous ones have 64 hexadecimal digits for a name."""
    detail = standing.detail
    return tuple(name for name in detail.volumes if len(name) != 64) if detail else ()
