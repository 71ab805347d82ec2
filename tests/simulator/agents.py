"""Agents of a whole world: each runs at a worker, calls models with the key of its attempt, and asks a person at times.

What a run leaves behind outside of us, a tree of files, is written to as it goes: who writes last is who is recorded.
"""

import asyncio
from typing import TYPE_CHECKING

from ostler.domain.states import FINAL_STATES, FailureClass
from ostler.domain.tasks import Evidence, TaskKind
from ostler.workers.run import Run
from tests.simulator.callers import SimulatedLine, ask, request
from tests.simulator.machines import SimulatedRunner
from tests.simulator.processes import Hand, How

if TYPE_CHECKING:
    from tests.simulator.whole import WholeWorld

KEY_BOUND_S = 30.0
"""No key opens anything so long after the end of its attempt is durable."""
CALL_S = 1.0


class WholeRunner(SimulatedRunner):
    """Commands and calls as ever; agents by themselves."""

    def __init__(self, world: "WholeWorld", hand: Hand) -> None:
        super().__init__(world.floor, hand)
        self._world = world

    async def program(self, run: Run) -> How:
        """See the base."""
        if run.spec.kind is not TaskKind.AGENT:
            return await super().program(run)
        world, floor = self._world, self._floor
        job = floor.job(run.key[0])
        try:
            await self._calls(run, job.calls)
        except ConnectionError:
            return How(FailureClass.NETWORK, "its calls were not answered")
        if job.asks and job.name not in world.answered:
            return How(FailureClass.QUESTION, "which one of the two?")
        if floor.starts[job.name] <= job.fails:
            kind = FailureClass.VERIFICATION if job.priority % 2 else FailureClass.CAPABILITY
            return How(kind, "its tests are red")
        return How(evidence=Evidence(agent="opencode", steps=job.calls, tool_calls=job.calls))

    async def _calls(self, run: Run, count: int) -> None:
        """The calls of an agent, each tried a few times. Raises when one is not answered."""
        model = run.assignment.route.model if run.assignment.route is not None else "small"
        key = run.assignment.key or ""
        for _ in range(count):
            await asyncio.sleep(0.5)
            self._world.trees[run.key[0]] = run.key[1]
            await self._called(run, model, key)

    async def _called(self, run: Run, model: str, key: str) -> None:
        world = self._world
        for _ in range(8):
            wire = world.wires[self._worker]
            line = SimulatedLine(request(model, CALL_S, streams=True), key)
            stale = self._ended_long_ago(run)
            if not wire.cut:
                await ask(world.hub_for(self._worker), line)
            if line.good and not wire.cut:
                if stale:
                    world.floor.say(f"a key of {run.key} opened a model after its attempt had ended")
                world.clients.check(f"of {run.key}", line)
                return
            await asyncio.sleep(1.0)
        raise ConnectionError

    def _ended_long_ago(self, run: Run) -> bool:
        record = self._world.disk.truth._records.get(run.key[0])
        if record is None:
            return False
        attempt = record.attempts.get(run.key[1])
        ended_ms = None if attempt is None else attempt.finished_ms
        over = record.task.state in FINAL_STATES or record.task.generation != run.key[1]
        return over and ended_ms is not None and self._world.eye.since_s(run.key) > KEY_BOUND_S
