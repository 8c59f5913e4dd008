"""One check's life in the gate: probed until it passes, and watched from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ktrdr_sandbox.gate.checks.base import Check, Surroundings, Verdict
from ktrdr_sandbox.gate.polling import Pace, Signal
from ktrdr_sandbox.gate.result import GateProgress

Observer = Callable[[GateProgress], None]


class Runner:
    """Probes a check at its own pace and keeps the latest verdict.

    `stopping` asks for one last probe. `on_pass` is called each time that the check passes.
    """

    def __init__(
        self,
        check: Check,
        around: Surroundings,
        *,
        nudge: Signal,
        begun: float,
        observe: Observer | None,
    ) -> None:
        self.check = check
        self.verdict = Verdict(outcome="waiting", doing="has not answered yet")
        self.stopping = False
        self.on_pass: Callable[[], None] | None = None
        self._monitor = around.monitor
        self._settled_at: float | None = None
        self._nudge = nudge
        self._begun = begun
        self._observe = observe
        self._told: tuple[str, bool, bool] | None = None
        request = around.request
        self._pace = Pace(first=request.poll_first, longest=request.poll_max, now=begun)

    @property
    def seconds(self) -> float:
        """From the gate's start to the moment it was settled, or to now."""
        settled = self._settled_at
        return (self._now() if settled is None else settled) - self._begun

    async def run(self) -> None:
        """Ends when the check has failed for good, or after the last look. Raises SandboxError
        when the engine stays silent."""
        while True:
            last = self.stopping
            began = self._now()
            self._take(await self.check.probe())
            if self.verdict.outcome == "passed":
                await self._hold()
                if self._holds:
                    return
                self.reopen("looking again: a container has restarted or ended")
            elif last or self.verdict.outcome == "failed":
                return
            elif not self.stopping:
                await self._rest(probe_seconds=self._now() - began)

    async def _rest(self, *, probe_seconds: float) -> None:
        pause = self._pace.pause(self._now(), probe_seconds=probe_seconds)
        if await self._nudge.wait(pause):
            self._pace.changed(self._now())

    async def _hold(self) -> None:
        """Wait while the pass holds and others are still at work."""
        while self._holds and not self.stopping:
            await self._nudge.wait(None)

    @property
    def _holds(self) -> bool:
        """Whether the containers that the pass rests on are still the ones that run."""
        snapshot = self._monitor.latest
        return snapshot is None or self.verdict.proof <= snapshot.runs

    def reopen(self, why: str) -> None:
        """Take a pass back."""
        self.verdict = Verdict(outcome="waiting", doing=why)
        self._settled_at = None
        self._pace.changed(self._now())
        self._tell(why)

    def _take(self, verdict: Verdict) -> None:
        if (verdict.outcome, verdict.facts) != (self.verdict.outcome, self.verdict.facts):
            self._pace.changed(self._now())
        self.verdict = verdict
        if verdict.outcome == "waiting":
            self._tell(verdict.doing)
            return
        self._settled_at = self._now()
        if verdict.outcome == "failed":
            self.tell_failure()
        elif verdict.moot:
            self._tell(verdict.facts[0])
        else:
            self._tell(self.check.ready_title, passed=True)
            if self.on_pass is not None:
                self.on_pass()
        # The gate, and checks that need this one, wait for it.
        self._nudge.fire()

    def tell_failure(self) -> None:
        """Send the observer the first fact of a verdict that is no pass."""
        self._tell((self.verdict.facts or (self.verdict.doing,))[0], failed=True)

    def _tell(self, state: str, *, passed: bool = False, failed: bool = False) -> None:
        if self._observe is None or (state, passed, failed) == self._told:
            return
        self._told = (state, passed, failed)
        self._observe(
            GateProgress(
                name=self.check.name,
                elapsed=self.seconds,
                state=state,
                passed=passed,
                failed=failed,
            )
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
