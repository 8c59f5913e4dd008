"""The backend of this instance answers 200 on its health address."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.check import (
    Check,
    Verdict,
    failed_before,
    lost,
    owner,
    runs,
    stranger,
    to_be_healthy,
)
from ktrdr_sandbox.gate.http import Answer, shown_url
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot, monotonic
from ktrdr_sandbox.models import PublishedPort


@dataclass(eq=False)
class BackendCheck(Check):
    """HTTP 200, given by a container of ours that publishes the port.

    `port` is None for a backend that publishes none: then only its container can be judged. Where
    it answers and knows none of the health addresses, its own health test is believed.
    """

    name = "backend"
    ready_title = "Backend healthy"
    failed_title = "Backend health check failed"
    service: str
    port: PublishedPort | None
    _known_path: str | None = None
    _unknown_since: float | None = None

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(self.service)
        if failed:
            return lost(failed)
        if self.port is None:
            return self._by_its_own_test(
                snapshot, f"{self.service} publishes no port, so it was not asked from outside"
            )
        answers = await self._ask(self.port)
        answered = answers[-1].status == 200
        unknown = all(answer.status == 404 for answer in answers)
        if not unknown:
            self._unknown_since = None
        ours = owner(snapshot, self.port)
        if ours is not None and answered:
            return Verdict("passed", proof=runs([ours]))
        if ours is not None and unknown:
            return self._without_health_address(snapshot, ours, answers)
        if answered or unknown:
            return Verdict(
                "waiting",
                f"waiting for {self.service} to start",
                (stranger(self.port),),
                (self.service,),
                f"another program holds port {self.port.published}",
                next_command=f"lsof -i :{self.port.published}",
            )
        return self._waiting(snapshot, self.port, answers[-1])

    async def _ask(self, port: PublishedPort) -> list[Answer]:
        """The answers of the paths in turn, up to the first that is not 404."""
        answers = []
        for path in self._paths():
            answer = await self.watch.http.get(port, path)
            answers.append(answer)
            if answer.status != 404:
                self._known_path = path if answer.status is not None else self._known_path
                break
        return answers

    def _paths(self) -> list[str]:
        """The one that was known is asked first from then on."""
        return sorted(self.request.health_paths, key=lambda path: path != self._known_path)

    def _without_health_address(
        self, snapshot: Snapshot, ours: ContainerStatus, answers: list[Answer]
    ) -> Verdict:
        """A 404 does not become a 200 by waiting; what else is known of the service decides."""
        if ours.detail is not None and ours.detail.health_test:
            paths = ", ".join(self.request.health_paths)
            own = self._by_its_own_test(
                snapshot,
                f"{self.service} has none of the known health addresses ({paths}); its own health "
                "test was believed. The setting health_paths names its address",
            )
            if own.outcome != "waiting":
                return own
        else:
            self._unknown_since = self._unknown_since or monotonic()
        since = self._unknown_since
        final = since is not None and monotonic() - since >= self.request.settling
        return Verdict(
            "failed" if final else "waiting",
            f"waiting for a health address of {self.service}",
            tuple(answer.fact for answer in answers),
            (self.service,),
            f"{self.service} has none of the known health addresses; "
            "the setting health_paths names its own",
            next_command=own_commands.on("{name}", "config show"),
        )

    def _waiting(self, snapshot: Snapshot, port: PublishedPort, answer: Answer) -> Verdict:
        unstarted = [one.fact for one in snapshot.of(self.service) if one.condition == "waiting"]
        if not unstarted:
            now = f" (now {answer.status})" if answer.status not in (None, 404) else ""
            doing = f"waiting for HTTP 200 at {shown_url(port, self._paths()[0])}{now}"
            said = "gives no 200 there; the setting health_paths names other paths"
            if answer.silent:
                said = "accepts connections and does not get to answering: it hangs"
            elif answer.status is None:
                said = f"runs, and its program does not listen on {port.target} yet"
            elif answer.status >= 500:
                said = "runs and reports an error of its own: see its log"
            told = f"{self.service} {said}"
            return Verdict("waiting", doing, (answer.fact,), (self.service,), suspicion=told)
        # A container that was never started has no log; what it waits for has one.
        awaited = to_be_healthy(self.watch, snapshot, self.service)
        failed = failed_before(self.request.stack, snapshot, self.service)
        command = suspicion = None
        if awaited:
            names = ", ".join(dict.fromkeys(one.service for one in awaited))
            suspicion = f"it is started once {names} is healthy"
            command = own_commands.logs("{name}", awaited[0].service)
        if failed:
            suspicion = f"it is started after {', '.join(failed)}, which failed"
        return Verdict(
            "waiting",
            f"waiting for {self.service} to start",
            (answer.fact, *unstarted),
            (self.service,),
            suspicion=suspicion,
            next_command=command,
        )

    def _by_its_own_test(self, snapshot: Snapshot, fact: str) -> Verdict:
        """The container's own health test speaks for it, or that it runs."""
        statuses = snapshot.of(self.service)
        running = [one for one in statuses if one.condition == "running"]
        facts = tuple(one.fact for one in statuses)
        waiting = Verdict("waiting", f"waiting for {self.service}", facts, (self.service,))
        if not running or running[0].detail is None:
            return waiting
        health = self.watch.health.status(running[0].detail)
        if health.healthy:
            return Verdict("passed", facts=(fact,), proof=runs(running))
        return replace(
            waiting,
            outcome="failed" if health.hopeless else "waiting",
            facts=(f"{self.service}: {health.trouble or 'its health test is under way'}", fact),
            cause=health.cause,
        )
