"""The people of a whole world: who answers questions, pauses and resumes, cancels batches, and begins a loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ostler.app.hub_parts import HubParts
from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.loops import LoopStatus
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.gateway_views import KeyWish
from ostler.hub.loop_views import LoopWish, ScheduleChange
from tests.simulator.story import FAULTS_UNTIL_S, Act

if TYPE_CHECKING:
    from tests.simulator.whole import WholeWorld

Ask = Callable[[HubParts], Awaitable[Any]]
LOOK_S = 7.0
ANSWERS_MAX = 3
"""After so many answers a person has had enough, and cancels."""
POOR_MICRO_USD = 1_500
LOOP = "night"
LOOPS, TICKS = 3, 2


class People:
    """One person who looks after everything."""

    def __init__(self, world: "WholeWorld") -> None:
        self._world = world
        self._answers: dict[str, int] = {}
        self.looped = False
        """The hub has acknowledged the loop."""

    async def live(self) -> None:
        """As long as the world does."""
        acting = [asyncio.ensure_future(self._act(act)) for act in self._world.story.acts]
        beginning = asyncio.ensure_future(self._begin())
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                await self._look()
        finally:
            for task in (*acting, beginning):
                task.cancel()
            await asyncio.gather(*acting, beginning, return_exceptions=True)

    async def _begin(self) -> None:
        """A key that may spend little, and a loop."""
        made = await self._asked(
            lambda parts: parts.hub.gateway.make_key(KeyWish(name="poor", limit_micro_usd=POOR_MICRO_USD))
        )
        if made is not None:
            self._world.clients.poor_key = made.key
        work = TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("true",))
        schedule = ScheduleChange(interval_minutes=0.5, max_loops=LOOPS, ticks_per_loop=TICKS)
        wish = LoopWish(name=LOOP, schedule=schedule, work=work, start=True)
        await self._asked(lambda parts: parts.hub.loops.create(wish))
        self.looped = True

    async def _look(self) -> None:
        """Answer what is asked; once the faults are over, let everything go on."""
        late = asyncio.get_running_loop().time() > FAULTS_UNTIL_S
        for name, record in sorted(self._world.disk.truth._records.items()):
            task = record.task
            if task.state is TaskState.NEEDS_HUMAN:
                await self._answer(name)
            elif late and task.paused and task.state not in FINAL_STATES:
                await self._asked(lambda parts, name=name: parts.hub.resume(name))  # type: ignore[misc]
        loops = await self._world.disk.truth.loops()
        if late and any(loop.status is LoopStatus.PAUSED for loop in loops):
            await self._asked(lambda parts: parts.hub.loops.act(LOOP, "resume"))

    async def _answer(self, name: str) -> None:
        given = self._answers.get(name, 0)
        self._answers[name] = given + 1
        if given >= ANSWERS_MAX:
            await self._asked(lambda parts: parts.hub.cancel(name, "a person had enough"))
        else:
            self._world.answered.add(name)
            await self._asked(lambda parts: parts.hub.people.answer(name, "the first one"))

    async def _act(self, act: Act) -> None:
        await asyncio.sleep(act.at_s)
        whom = act.whom
        verbs: dict[str, Ask] = {
            "pause": lambda parts: parts.hub.pause(whom),
            "resume": lambda parts: parts.hub.resume(whom),
            "retry": lambda parts: parts.hub.retry(whom),
            "answer": lambda parts: parts.hub.people.answer(whom, "as you like"),
            "pause batch": lambda parts: parts.hub.batches.pause(whom),
            "resume batch": lambda parts: parts.hub.batches.resume(whom),
            "cancel batch": lambda parts: parts.hub.batches.cancel(whom),
        }
        await self._asked(verbs[act.verb])

    async def _asked(self, work: Ask) -> Any:  # noqa: ANN401 - whatever was asked for
        """The answer, or `None` when it is no."""
        try:
            return await self._world.until_answered(work)
        except (ConflictError, NotFoundError):
            return None
