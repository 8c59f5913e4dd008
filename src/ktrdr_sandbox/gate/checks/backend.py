"""The backend of this instance answers 200 on its health address."""

from __future__ import annotations

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict, lost, owner, runs, stranger
from ktrdr_sandbox.gate.checks.held_up import failed_before, to_be_healthy
from ktrdr_sandbox.gate.health_test import health_trouble
from ktrdr_sandbox.gate.http import Answer, shown_url
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.models import PublishedPort


class BackendCheck:
    """HTTP 200, given by a container of ours that publishes the port.

    `port` is None for a backend that publishes none: then only its container can be judged.
    `verdict` is the latest, for the checks that need the backend.
    """

    name: CheckName = "backend"
    ready_title = "Backend healthy"
    failed_title = "Backend health check failed"

    def __init__(self, around: Surroundings, *, service: str, port: PublishedPort | None) -> None:
        self.service = service
        self.port = port
        self.verdict = Verdict(outcome="waiting", doing="waiting for the backend")
        self._around = around
        self._paths = around.request.health_paths

    async def probe(self) -> Verdict:
        self.verdict = await self._look()
        return self.verdict

    async def _look(self) -> Verdict:
        snapshot = self._around.monitor.latest
        failed = snapshot.failed([self.service]) if snapshot else ()
        if failed:
            return lost(failed)
        if self.port is None:
            return await self._unreachable()
        answers = await self._ask(self.port)
        if answers[-1].status == 200:
            return await self._confirm(self.port)
        return self._waiting(self.port, answers)

    async def _ask(self, port: PublishedPort) -> list[Answer]:
        """The answers of the paths in turn, up to the first that is not 404."""
        answers = []
        for path in self._paths:
            answer = await self._around.http.get(port, path)
            answers.append(answer)
            if answer.status != 404:
                self._prefer(path, answer)
                break
        return answers

    def _prefer(self, path: str, answer: Answer) -> None:
        """The backend knows this path: ask it first from now on."""
        if answer.status is not None:
            rest = tuple(other for other in self._paths if other != path)
            self._paths = (path, *rest)

    async def _confirm(self, port: PublishedPort) -> Verdict:
        standing = await owner(self._around, port)
        if standing is None:
            return Verdict(
                outcome="waiting",
                doing=f"waiting for {self.service} to start",
                facts=(stranger(port),),
                services=(self.service,),
                cause=f"another program holds port {port.published}",
                next_command=f"lsof -i :{port.published}",
            )
        return Verdict(outcome="passed", proof=runs((standing,)))

    def _waiting(self, port: PublishedPort, answers: list[Answer]) -> Verdict:
        unknown = all(answer.status == 404 for answer in answers)
        settings = own_commands.on(self._around.request.instance.name, "config show")
        facts = [answer.fact for answer in answers if unknown or answer.status != 404]
        return Verdict(
            outcome="waiting",
            doing=self._doing(port, answers[-1]),
            facts=(*facts, *self._unstarted()),
            services=(self.service,),
            cause=(
                f"{self.service} has none of the known health addresses; "
                "the setting health_paths names its own"
                if unknown
                else None
            ),
            suspicion=None if unknown else self._suspicion(port, answers[-1]),
            next_command=settings if unknown else self._look_elsewhere(),
        )

    def _doing(self, port: PublishedPort, answer: Answer) -> str:
        if self._unstarted():
            return f"waiting for {self.service} to start"
        now = f" (now {answer.status})" if answer.status not in (None, 404) else ""
        return f"waiting for HTTP 200 at {shown_url(port, self._paths[0])}{now}"

    def _suspicion(self, port: PublishedPort, answer: Answer) -> str | None:
        """What an answer that is not 200 means of a backend that runs."""
        if self._unstarted():
            return self._hold_up()
        if answer.silent:
            return f"{self.service} accepts connections and does not get to answering: it hangs"
        if answer.status is None:
            return f"{self.service} runs, and its program does not listen on {port.target} yet"
        if answer.status >= 500:
            return f"{self.service} runs and reports an error of its own: see its log"
        return f"{self.service} gives no 200 there; the setting health_paths names other paths"

    def _hold_up(self) -> str | None:
        failed = failed_before(self._around, self.service)
        if failed:
            return f"it is started after {', '.join(failed)}, which failed"
        awaited = dict.fromkeys(one.service for one in to_be_healthy(self._around, self.service))
        return f"it is started once {', '.join(awaited)} is healthy" if awaited else None

    def _look_elsewhere(self) -> str | None:
        """A container that was never started has no log; what it waits for has one."""
        awaited = to_be_healthy(self._around, self.service) if self._unstarted() else ()
        name = self._around.request.instance.name
        return own_commands.logs(name, awaited[0].service) if awaited else None

    def _unstarted(self) -> tuple[str, ...]:
        snapshot = self._around.monitor.latest
        standings = snapshot.of(self.service) if snapshot else ()
        return tuple(standing.fact for standing in standings if standing.condition == "waiting")

    async def _unreachable(self) -> Verdict:
        """No host port: the container's own health test speaks for it, or that it runs."""
        fact = f"{self.service} publishes no port, so it was not asked from outside"
        snapshot = self._around.monitor.latest or await self._around.monitor.refresh()
        standings = snapshot.of(self.service) if snapshot else ()
        running = tuple(one for one in standings if one.condition == "running")
        doing = f"waiting for {self.service}"
        if not running or running[0].detail is None:
            facts = tuple(one.fact for one in standings)
            return Verdict(outcome="waiting", doing=doing, facts=facts, services=(self.service,))
        trouble = await health_trouble(self._around.engine, running[0].detail)
        if trouble:
            facts = (f"{self.service}: {trouble}", fact)
            return Verdict(outcome="waiting", doing=doing, facts=facts, services=(self.service,))
        return Verdict(outcome="passed", facts=(fact,), proof=runs(running))
