"""When the runner of loops looks, and what it does when something is in the way."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from ostler.domain.commands import Command, Result, SubmitTasks
from ostler.domain.errors import UnreachableError
from ostler.domain.limits import BudgetPolicy, Limit, PartKey, PoolPart, Price, Window, WindowKind
from ostler.domain.loops import Loop, LoopStatus
from ostler.domain.policy import Policy
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.loops import machine
from ostler.scheduling.signals import PartsTold
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.test_loops import CHAT, COMMAND, Night, night, wish
from tests.scheduling.rig import cloud, three_tiers

LOOKS_MAX = 40
TURNS = 200
"""Turns of the event loop in which a runner that does not rest would have looked as often."""


class Watched(MemoryStore):
    """Counts looks, ends a test in which they have no end, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.unreadable = False
        self.forgets = False
        """The next hand-in happens, and who waits for it is told that it failed."""

    async def loops(self) -> list[Loop]:
        self.looks += 1
        assert self.looks < 10 * LOOKS_MAX, "it looks without end"
        if self.unreadable:
            raise StoreError("the disk is gone")
        return await super().loops()

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        results = await super().apply(commands)
        if self.forgets and any(isinstance(command, SubmitTasks) for command in commands):
            self.forgets = False
            raise StoreError("the answer was lost")
        return results


async def turns(count: int = TURNS) -> None:
    """Let everybody else go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def no_money() -> Policy:
    """A tier that costs, and a cap of nothing."""
    budget = BudgetPolicy(limits=(Limit(name="month", hard=0),), prices={"claude": Price(input=3.0, output=15.0)})
    return msgspec.structs.replace(three_tiers(), budget=budget)


async def poor(hub: Night, *, pauses: bool) -> None:
    """A loop whose ticks nobody can pay."""
    hub.built.watch.models = ("claude",)
    await hub.built.desk.start(cloud(slots=1), "profile")
    work = TaskSpec(id="work", prompt="x", tier="complex")
    await hub.desk.create(wish(work=work, auto_pause_on_budget=pauses))


async def test_a_tick_that_waits_for_money_is_not_looked_at_again_and_again() -> None:
    """It is known to wait: the runner rests, and others have their turn."""
    store = Watched()
    async with night(store, no_money()) as hub:
        await poor(hub, pauses=False)
        await hub.desk.runner.start()
        await turns()
        assert (await hub.desk.show("night")).waits.startswith("budget")
        assert store.looks < LOOKS_MAX
        await hub.desk.runner.stop()


async def test_a_tick_that_begins_to_wait_for_money_is_seen_at_once() -> None:
    """Nobody calls `look`, and no loop is due: the loop pauses all the same."""
    async with night(policy=no_money()) as hub:
        await hub.desk.runner.start()
        await poor(hub, pauses=True)
        await turns()
        assert (await hub.desk.show("night")).loop.reason == "budget_exhausted"
        await hub.desk.runner.stop()


async def test_a_tick_that_waits_for_what_other_pools_keep_pauses_no_loop() -> None:
    """They give it back in seconds. When they cannot any more the loop pauses, as at any limit."""
    ever = Limit(name="ever", window=Window(kind=WindowKind.NONE), hard=10**9)
    policy = no_money()
    policy = msgspec.structs.replace(policy, budget=msgspec.structs.replace(policy.budget, limits=(ever,)))
    part = PoolPart(most=0, total=10**9, kept=10**9, pools=("lab",))
    async with night(policy=policy) as hub:
        await hub.built.pump.post(PartsTold(parts={PartKey("ever", "", 0): part}))
        await hub.desk.runner.start()
        await poor(hub, pauses=True)
        await turns()
        shown = await hub.desk.show("night")
        assert (shown.loop.status, shown.waits.split(":")[0]) == (LoopStatus.RUNNING, "budget")

        gone = msgspec.structs.replace(part, spent=10**9, kept=0)
        await hub.built.pump.post(PartsTold(parts={PartKey("ever", "", 0): gone}))
        await turns()
        assert (await hub.desk.show("night")).loop.reason == "budget_exhausted"
        await hub.desk.runner.stop()


async def test_a_store_that_cannot_be_read_is_not_asked_without_a_pause() -> None:
    """Although a loop is due; when it can be read again the loop goes on."""
    store = Watched()
    async with night(store) as hub:
        await hub.desk.create(wish(wait_first=True))
        hub.built.clock.pass_ms(3_600_000)
        store.unreadable = True
        runner = hub.desk.runner
        runner._looking = asyncio.create_task(runner._look_for_ever())
        await turns()
        assert store.looks < LOOKS_MAX
        store.unreadable = False
        await runner.look()
        assert (await hub.desk.show("night")).loop.status is LoopStatus.RUNNING
        await runner.stop()


async def test_a_loop_that_cannot_be_looked_after_keeps_no_other_from_its_ticks() -> None:
    """One whose task the hub cannot take now stands before one whose task it takes; it goes on when that is over."""
    async with night() as hub:
        await hub.desk.create(wish("first", start=False))
        await hub.desk.create(wish("second", start=False))
        queue, refuses = hub.desk.runner._queue, [True]

        class Refusing:
            async def submit(self, specs: list[TaskSpec]) -> object:
                if refuses[0] and specs[0].session == "loop:first":
                    raise UnreachableError("not now")
                return await queue.submit(specs)

            async def cancel(self, task_id: str, reason: str = "") -> Task:
                return await queue.cancel(task_id, reason)

        hub.desk.runner._queue = Refusing()
        await hub.desk.act("first", "start")
        await hub.desk.act("second", "start")
        assert await hub.tasks() == {"loop-second-1-1-1": TaskState.QUEUED}
        assert not await hub.desk.runner.look()
        refuses[0] = False
        assert await hub.desk.runner.look()
        assert set(await hub.tasks()) == {"loop-first-1-1-1", "loop-second-1-1-1"}


async def test_a_task_whose_hand_in_was_not_heard_of_is_taken_up() -> None:
    """It is durable, and no hub holds it: the next look hands it in again, and it runs once."""
    store = Watched()
    async with night(store) as hub:
        store.forgets = True
        await hub.desk.create(wish(ticks_per_loop=2))
        assert await hub.tasks() == {"loop-night-1-1-1": TaskState.QUEUED}
        await hub.desk.runner.look()
        assert [spec.id for spec in await hub.work()] == ["loop-night-1-1-1"]
        assert (await hub.desk.show("night")).loop.total_ticks_run == 1


async def test_a_new_loop_does_not_take_the_tasks_of_an_older_one_of_its_name_for_its_own() -> None:
    """Dropped and made again, it runs all of its ticks, with numbers that go on; its summaries are its own, too."""
    async with night() as hub:
        for number in (1, 2):
            await hub.desk.create(wish(work=CHAT, ticks_per_loop=11, max_loops=1))
            done = [spec.id for _ in range(12) for spec in await hub.work()]
            assert [name for name in done if "summary" not in name] == [
                f"loop-night-{number}-{tick}-1" for tick in range(1, 12)
            ]
            assert f"loop-night-summary-{number}-10" in done
            loop = (await hub.desk.show("night")).loop
            assert (loop.status, loop.total_ticks_run) == (LoopStatus.FINISHED, 11)
            await hub.desk.drop("night")


@pytest.mark.parametrize("late", [True, False])
async def test_a_tick_that_was_done_before_it_could_be_taken_back_counts(late: bool) -> None:
    """Money came while its loop paused for want of it: the tick is not done again. One that was cancelled is."""
    async with night() as hub:
        await hub.desk.create(wish(ticks_per_loop=1, max_loops=1))
        runner = hub.desk.runner
        queue = runner._queue

        class Late:
            async def submit(self, specs: list[TaskSpec]) -> object:
                return await queue.submit(specs)

            async def cancel(self, task_id: str, reason: str = "") -> Task:
                if late:
                    await hub.work("done in time")
                return await queue.cancel(task_id, reason)

        runner._queue = Late()
        loop = (await hub.desk.show("night")).loop
        step = machine.no_money(loop, "loop-night-1-1-1", hub.built.clock.now_ms())
        assert step is not None
        await runner._saved(loop, step)
        assert (await hub.desk.act("night", "resume")).loop.total_ticks_run == late
        await hub.work("done the second time")
        again = {"loop-night-1-1-1": TaskState.CANCELLED, "loop-night-1-1-1-again-1": TaskState.SUCCEEDED}
        assert await hub.tasks() == ({"loop-night-1-1-1": TaskState.SUCCEEDED} if late else again)
        loop = (await hub.desk.show("night")).loop
        assert (loop.status, loop.total_ticks_run) == (LoopStatus.FINISHED, 1)


async def test_as_many_answers_are_kept_as_the_window_says() -> None:
    """`context.window_size`: older ones are forgotten where nothing summarises them before."""
    async with night() as hub:
        runner = hub.desk.runner
        runner.rules = msgspec.structs.replace(runner.rules, window=3, summarize_every=0)
        await hub.desk.create(wish(work=COMMAND, ticks_per_loop=9))
        for number in range(5):
            await hub.work(f"answer {number}")
        assert (await hub.desk.show("night")).loop.history == ("answer 2", "answer 3", "answer 4")
