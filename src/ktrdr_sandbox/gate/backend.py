"""The backend of this instance answers 200 on its health address."""

from __future__ import annotations

from dataclasses import replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.blockers import failed_before, to_be_healthy
from ktrdr_sandbox.gate.check import Check, Verdict, lost, owner, runs, stranger
from ktrdr_sandbox.gate.http import Answer, shown_url
from ktrdr_sandbox.gate.result import GateRequest
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot, monotonic
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.models import PublishedPort


class BackendCheck(Check):
    """HTTP 200, given by a container of ours that publishes the port.

    `port` is None for a backend that publishes none: then only its container can be judged. Where
    it answers and knows none of the health addresses, its own health test is believed.
    """

    name = "backend"
    ready_title = "Backend healthy"
    failed_title = "Backend health check failed"

    def __init__(
        self, watch: StackWatch, request: GateRequest, *, service: str, port: PublishedPort | None
    ) -> None:
        super().__init__(watch, request)
        self.service = service
        self.port = port
        self._paths = request.health_paths
        self._unknown_since: float | None = None

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(self.service)
        if failed:
            return lost(failed)
        if self.port is None:
            return self._by_its_own_test(
                snapshot, f"{self.service} publishes no port, so it was not asked from outside"
            )
        answers = await self._ask(self.port)
        unknown = all(answer.status == 404 for answer in answers)
        if not unknown:
            self._unknown_since = None
        ours = owner(snapshot, self.port)
        if ours is None and (unknown or answers[-1].status == 200):
            return self._taken_by_a_stranger(self.port)
        if ours is not None and answers[-1].status == 200:
            return Verdict(outcome="passed", proof=runs((ours,)))
        if ours is not None and unknown:
            return self._without_health_address(snapshot, ours, answers)
        return self._waiting(snapshot, self.port, answers)

    async def _ask(self, port: PublishedPort) -> list[Answer]:
        """The answers of the paths in turn, up to the first that is not 404; that is asked first
        from then on."""
        answers = []
        for path in self._paths:
            answer = await self.watch.http.get(port, path)
            answers.append(answer)
            if answer.status != 404:
                if answer.status is not None:
                    rest = tuple(other for other in self._paths if other != path)
                    self._paths = (path, *rest)
                break
        return answers

    def _taken_by_a_stranger(self, port: PublishedPort) -> Verdict:
        return Verdict(
            outcome="waiting",
            doing=f"waiting for {self.service} to start",
            facts=(stranger(port),),
            services=(self.service,),
            cause=f"another program holds port {port.published}",
            next_command=f"lsof -i :{port.published}",
        )

    def _without_health_address(
        self, snapshot: Snapshot, ours: ContainerStatus, answers: list[Answer]
    ) -> Verdict:
        """A 404 does not become a 200 by waiting; what else is known of the service decides."""
        paths = ", ".join(self.request.health_paths)
        if ours.detail is not None and ours.detail.health_test:
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
            outcome="failed" if final else "waiting",
            doing=f"waiting for a health address of {self.service}",
            facts=tuple(answer.fact for answer in answers),
            services=(self.service,),
            cause=f"{self.service} has none of the known health addresses; "
            "the setting health_paths names its own",
            next_command=own_commands.on(self.instance_name, "config show"),
        )

    def _waiting(self, snapshot: Snapshot, port: PublishedPort, answers: list[Answer]) -> Verdict:
        answer = answers[-1]
        now = f" (now {answer.status})" if answer.status not in (None, 404) else ""
        verdict = Verdict(
            outcome="waiting",
            doing=f"waiting for HTTP 200 at {shown_url(port, self._paths[0])}{now}",
            facts=(answer.fact,),
            services=(self.service,),
            suspicion=self._suspicion(port, answer),
        )
        unstarted = [one.fact for one in snapshot.of(self.service) if one.condition == "waiting"]
        if not unstarted:
            return verdict
        # A container that was never started has no log; what it waits for has one.
        awaited = to_be_healthy(self.watch, snapshot, self.service)
        failed = failed_before(self.request.stack, snapshot, self.service)
        names = ", ".join(dict.fromkeys(one.service for one in awaited))
        suspicion = f"it is started once {names} is healthy" if awaited else None
        return replace(
            verdict,
            doing=f"waiting for {self.service} to start",
            facts=(answer.fact, *unstarted),
            suspicion=(
                f"it is started after {', '.join(failed)}, which failed" if failed else suspicion
            ),
            next_command=(
                own_commands.logs(self.instance_name, awaited[0].service) if awaited else None
            ),
        )

    def _suspicion(self, port: PublishedPort, answer: Answer) -> str:
        """What an answer that is not 200 means of a backend that runs."""
        if answer.silent:
            return f"{self.service} accepts connections and does not get to answering: it hangs"
        if answer.status is None:
            return f"{self.service} runs, and its program does not listen on {port.target} yet"
        if answer.status >= 500:
            return f"{self.service} runs and reports an error of its own: see its log"
        return f"{self.service} gives no 200 there; the setting health_paths names other paths"

    def _by_its_own_test(self, snapshot: Snapshot, fact: str) -> Verdict:
        """The container's own health test speaks for it, or that it runs."""
        statuses = snapshot.of(self.service)
        running = tuple(one for one in statuses if one.condition == "running")
        waiting = Verdict(
            outcome="waiting",
            doing=f"waiting for {self.service}",
            facts=tuple(one.fact for one in statuses),
            services=(self.service,),
        )
        if not running or running[0].detail is None:
            return waiting
        health = self.watch.health.status(running[0].detail)
        if health.healthy:
            return Verdict(outcome="passed", facts=(fact,), proof=runs(running))
        return replace(
            waiting,
            outcome="failed" if health.hopeless else "waiting",
            facts=(f"{self.service}: {health.trouble or 'its health test is under way'}", fact),
            cause=health.cause,
        )
