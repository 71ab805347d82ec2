"""Loops in the hub: their ticks are work in the queue, and whatever ends a hub, the next look goes on from there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from ostler.domain.commands import Command, Result, SaveLoop, Settle, SubmitTasks
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.event import CATALOGUE
from ostler.domain.fleet import WorkerOffer
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.limits import BudgetPolicy, Limit, Price
from ostler.domain.loops import LoopStatus
from ostler.domain.policy import Policy
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished, Report, Started
from ostler.hub.loop_desk import LoopDesk
from ostler.hub.loop_views import LoopAnswer, LoopWish, ScheduleChange
from ostler.scheduling.signals import Restored
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import cloud, three_tiers

HALF_HOUR = 1_800_000
WORKER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 4, TaskKind.CHAT: 4})
CHAT = TaskSpec(id="work", prompt="look around")
COMMAND = TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("make", "test"))


def wish(name: str = "night", *, start: bool = True, work: TaskSpec = COMMAND, **schedule: object) -> LoopWish:
    return LoopWish(name=name, schedule=msgspec.convert(schedule, ScheduleChange), work=work, start=start)


def ended(item: Assignment, now_ms: int, output: str, *, ok: bool = True) -> list[Report]:
    """What a worker reports of an assignment from its start to its end."""
    task_id, generation = item.task_id, item.generation
    failure = None if ok else Failure(kind=FailureClass.REFUSAL, message="no", at_ms=now_ms)
    finished = Finished(task_id=task_id, generation=generation, at_ms=now_ms, ok=ok, failure=failure, output=output)
    return [Started(task_id=task_id, generation=generation, at_ms=now_ms), finished]


class Night:
    """A hub with a worker that answers by hand."""

    def __init__(self, built: House) -> None:
        self.built = built

    @property
    def desk(self) -> LoopDesk:
        return self.built.hub.loops

    async def work(self, output: str | None = None, *, ok: bool = True) -> list[TaskSpec]:
        """Do everything that is assigned, then look; returns what was done."""
        link, clock = self.built.hub.link, self.built.clock
        session = (await link.join(WORKER)).id
        done = []
        poll = await link.poll(session, 20)
        for item in poll.assignments:
            said = output if output is not None else f"output of {item.task_id}"
            await link.report(session, ended(item, clock.now_ms(), said, ok=ok))
            done.append(item.spec)
        await link.leave(session)
        await self.desk.runner.look()
        return done

    async def take_up(self) -> None:
        """What a hub does that starts over a store that is in use."""
        work = await self.built.store.open_work()
        self.built.hub._next_seq = work.next_seq
        await self.built.pump.post(Restored(tasks=work.tasks, sessions=work.sessions, settled={}, lengths={}))
        await self.desk.runner.look()

    async def tasks(self) -> dict[str, TaskState]:
        rows = (await self.built.hub.tasks(TaskQuery())).tasks
        return {row.id: row.state for row in reversed(rows)}

    async def events(self) -> list[str]:
        page = await self.built.hub.events(0, 500)
        return [event.name for event in page.events if event.name.startswith("loop.")]


@asynccontextmanager
async def night(store: Store | None = None, policy: Policy | None = None) -> AsyncIterator[Night]:
    async with house(store, policy) as built:
        yield Night(built)


async def test_ticks_are_tasks_in_the_queue_charged_to_session_and_tick() -> None:
    """The start hands in the first; its end the second; after the last the loop waits for the next instant."""
    async with night() as hub:
        answer = await hub.desk.create(wish(ticks_per_loop=2))
        assert (answer.loop.status, answer.step) == (LoopStatus.RUNNING, "loop-night-1-1-1")
        assert answer.waits.startswith("no_worker")
        (first,), (second,) = await hub.work(), await hub.work()
        assert (first.id, first.session, first.tick) == ("loop-night-1-1-1", "loop:night", "1.1")
        assert (second.id, second.tick) == ("loop-night-1-2-1", "1.2")
        assert second.env["OSTLER_LOOP_TICK"] == "2"
        shown = await hub.desk.show("night")
        assert shown.loop.status is LoopStatus.WAITING
        assert shown.countdown_ms is not None
        assert 0 < shown.countdown_ms <= HALF_HOUR
        assert await hub.events() == [
            *("loop.created", "loop.started", "loop.waiting", "loop.loop_start"),
            *("loop.tick", "loop.tick", "loop.loop_end", "loop.waiting"),
        ]


async def test_every_event_is_in_the_catalogue_with_its_fields() -> None:
    """Of a loop that did all that a loop can do."""
    async with night() as hub:
        await hub.desk.create(wish(work=CHAT, ticks_per_loop=12, auto_pause_on_error_streak=1))
        for _ in range(11):
            await hub.work()
        await hub.work(ok=False)
        await hub.desk.act("night", "resume")
        await hub.desk.act("night", "pause")
        await hub.desk.act("night", "resume")
        await hub.desk.change("night", ScheduleChange(max_loops=1))
        await hub.desk.act("night", "stop")
        await hub.desk.act("night", "start")
        await hub.work("LOOP: stop it is done")
        await hub.desk.drop("night")
        page = await hub.built.hub.events(0, 500)
        told = [event for event in page.events if event.name.startswith("loop.")]
        for event in told:
            kind = CATALOGUE[event.name]
            assert set(event.measurements) == set(kind.measurements), event.name
            assert set(event.metadata) == set(kind.metadata), event.name
        seen = {event.name for event in told}
        assert {name for name in CATALOGUE if name.startswith("loop.")} == seen


async def test_the_next_loop_comes_when_it_is_due() -> None:
    """Half an hour after the start, not after the end of the loop before."""
    async with night() as hub:
        await hub.desk.create(wish(ticks_per_loop=1))
        started_ms = (await hub.desk.show("night")).loop.anchor_ms or 0
        await hub.work()
        hub.built.clock.pass_ms(HALF_HOUR + 60_000)
        await hub.desk.runner.look()
        shown = await hub.desk.show("night")
        assert shown.loop.run is not None
        assert shown.loop.run.due_ms == started_ms + HALF_HOUR
        assert await hub.tasks() == {
            "loop-night-1-1-1": TaskState.SUCCEEDED,
            "loop-night-2-1-1": TaskState.QUEUED,
        }


async def test_a_failed_task_is_a_failed_tick_and_a_streak_pauses() -> None:
    """With the reason, and nothing more is handed in until it is resumed."""
    async with night() as hub:
        await hub.desk.create(wish(auto_pause_on_error_streak=2))
        await hub.work(ok=False)
        await hub.work(ok=False)
        shown = await hub.desk.show("night")
        assert (shown.loop.status, shown.loop.reason) == (LoopStatus.PAUSED, "error_streak")
        assert (shown.loop.total_errors, shown.loop.last_error) == (2, "no")
        assert await hub.work() == []
        await hub.desk.act("night", "resume")
        assert [spec.id for spec in await hub.work()] == ["loop-night-1-3-1"]


async def test_a_hub_that_dies_at_any_write_goes_on_from_there() -> None:
    """The first writes of a loop, each failing once; a new hub over the same store: no tick is lost or done twice."""
    for fatal in range(1, 22):
        store = Dying(fatal)
        with contextlib.suppress(StoreError):
            async with night(store) as hub:
                await hub.desk.create(wish(ticks_per_loop=3))
                for _ in range(4):
                    await hub.work()
        store.revive()
        async with night(store) as hub:
            await hub.take_up()
            if not await store.loops():
                await hub.desk.create(wish(ticks_per_loop=3))
            for _ in range(6):
                await hub.work()
            shown = await hub.desk.show("night")
            assert shown.loop.total_ticks_run == 3, f"moment {fatal}"
            assert await hub.tasks() == {f"loop-night-1-{tick}-1": TaskState.SUCCEEDED for tick in (1, 2, 3)}
            assert (await hub.events()).count("loop.tick") == 3


async def test_two_hubs_over_one_store_run_a_loop_once() -> None:
    """Both look at the same time, again and again: each step is taken by one of them."""
    store = MemoryStore()
    async with night(store) as one:
        await one.desk.create(wish(ticks_per_loop=4))
        other = House(store, one.built.pump.scheduler.books.policy)
        other.pump.start()
        for _ in range(4):
            await asyncio.gather(one.desk.runner.look(), other.hub.loops.runner.look(), one.work())
        await one.desk.runner.look()
        shown = await one.desk.show("night")
        assert shown.loop.total_ticks_run == 4
        assert list(await one.tasks()) == [f"loop-night-1-{tick}-1" for tick in range(1, 5)]
        assert (await one.events()).count("loop.loop_start") == 1
        await other.pump.stop()


async def test_what_a_loop_has_spent_is_what_its_tasks_were_charged() -> None:
    """By tick, by loop, and in all."""
    async with night() as hub:
        await hub.desk.create(wish(ticks_per_loop=1))
        charge = Amount(micro_usd=1_500)
        scopes = Scopes(task="loop-night-1-1-1", session="loop:night")
        await hub.built.pump.apply([Settle(attempt="loop-night-1-1-1/1", at_ms=1, amount=charge, scopes=scopes)])
        await hub.work()
        shown = await hub.desk.show("night")
        history = await hub.desk.history("night")
        assert shown.loop.total_cost_micro_usd == history.total_cost_micro_usd == 1_500
        assert [done.cost_micro_usd for done in history.loops] == [1_500]


@pytest.mark.parametrize("pauses", [True, False])
async def test_a_tick_without_money_pauses_its_loop_or_waits(pauses: bool) -> None:
    """A cap of nothing and a tier that costs: the task is taken back and the loop pauses by itself, or it waits for
    money in the queue. Resumed, it waits, too, instead of going straight back to pause; stopped, nothing is left.
    """
    budget = BudgetPolicy(limits=(Limit(name="month", hard=0),), prices={"claude": Price(input=3.0, output=15.0)})
    async with night(policy=msgspec.structs.replace(three_tiers(), budget=budget)) as hub:
        hub.built.watch.models = ("claude",)
        await hub.built.desk.start(cloud(slots=1), "profile")
        work = TaskSpec(id="work", prompt="x", tier="complex")
        await hub.desk.create(wish(work=work, auto_pause_on_budget=pauses))
        assert await hub.work() == []
        shown = await hub.desk.show("night")
        if pauses:
            assert (shown.loop.status, shown.loop.reason) == (LoopStatus.PAUSED, "budget_exhausted")
            assert await hub.tasks() == {"loop-night-1-1-1": TaskState.CANCELLED}
            await hub.desk.act("night", "resume")
            assert await hub.work() == []
            shown = await hub.desk.show("night")
            assert shown.step == "loop-night-1-1-1-again-1"
        assert shown.loop.status is LoopStatus.RUNNING
        await hub.desk.act("night", "stop")
        assert set((await hub.tasks()).values()) == {TaskState.CANCELLED}


async def test_a_stop_cancels_the_task_under_way() -> None:
    """And a second stop is no mistake."""
    async with night() as hub:
        await hub.desk.create(wish())
        await hub.desk.act("night", "stop")
        assert await hub.tasks() == {"loop-night-1-1-1": TaskState.CANCELLED}
        assert (await hub.desk.act("night", "stop")).loop.status is LoopStatus.STOPPED
        assert await hub.work() == []


async def test_a_task_that_no_loop_wants_is_cancelled_at_the_start() -> None:
    """The hub was stopped between the end of a loop and the end of its task."""
    async with night() as hub:
        await hub.desk.create(wish())
        await hub.built.hub.submit([msgspec.structs.replace(COMMAND, id="loop-night-0-9-1", session="loop:night")])
        await hub.built.hub.submit([msgspec.structs.replace(COMMAND, id="other", session="mine")])
        await hub.desk.runner.start()
        await hub.desk.runner.stop()
        assert await hub.tasks() == {
            "loop-night-1-1-1": TaskState.QUEUED,
            "loop-night-0-9-1": TaskState.CANCELLED,
            "other": TaskState.QUEUED,
        }


async def test_the_hub_looks_by_itself() -> None:
    """A task that ends wakes it; nobody calls `look`."""
    async with night() as hub:
        await hub.desk.runner.start()
        await hub.desk.create(wish(ticks_per_loop=3))
        link = hub.built.hub.link
        session = await link.join(WORKER)
        done: list[str] = []
        while len(done) < 3:
            for item in (await link.poll(session.id, 1_000)).assignments:
                await link.report(session.id, ended(item, hub.built.clock.now_ms(), item.task_id))
                done.append(item.task_id)
        assert done == [f"loop-night-1-{tick}-1" for tick in (1, 2, 3)]
        await hub.desk.runner.stop()


async def test_older_answers_are_summarised_by_the_cheapest_tier_or_extracted() -> None:
    """At the tenth tick a task asks for a summary; when it fails, sentences are extracted."""
    for good in (True, False):
        async with night() as hub:
            await hub.desk.create(wish(work=CHAT, ticks_per_loop=11))
            for number in range(10):
                await hub.work(f"We decided on slate number {number}.")
            job = (await hub.desk.show("night")).loop.summarizing
            assert job is not None
            summary = next(iter(name for name in await hub.tasks() if "summary" in name))
            assert summary == "loop-night-summary-1-10"
            spec = (await hub.built.store.specs([summary]))[summary]
            assert (spec.task_type, spec.session) == ("summarization", "loop:night")
            if good:
                await hub.work("Slate it is.")
            else:
                await hub.built.hub.cancel(summary)
                await hub.desk.runner.look()
            working = (await hub.desk.show("night")).loop.working
            assert len(working.summaries) == 1
            assert ("Slate it is." in working.summaries[0]) is good
            assert ("decided on slate number" in working.summaries[0]) is not good


async def test_an_agents_words_go_into_the_next_prompt() -> None:
    """Stimulus, prompt, what it keeps in mind, and what it said before."""
    async with night() as hub:
        work = TaskSpec(id="work", prompt="mend what is broken", system="You are careful.", model="qwen")
        await hub.desk.create(wish(work=work, stimulus="look around"))
        loop = (await hub.desk.show("night")).loop
        spec = (await hub.built.store.specs(["loop-night-1-1-1"]))["loop-night-1-1-1"]
        assert spec.prompt == "look around\n\nmend what is broken"
        assert spec.system.startswith("You are careful.\n\nYou are called again and again: this is tick 1 of 15")
        assert spec.model == "qwen"
        assert loop.run is not None


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (wish(name="a b"), "name"),
        (wish(name=""), "name"),
        (wish(interval_minutes=0), "interval_minutes"),
        (wish(cron="nonsense"), "cron"),
        (wish(work=TaskSpec(id="work")), "work.prompt"),
        (wish(work=msgspec.structs.replace(COMMAND, session="mine")), "work.session"),
        (wish(work=msgspec.structs.replace(COMMAND, needs=("x",))), "work.needs"),
        (wish(work=TaskSpec(id="work", prompt="x", tier="standart")), "task work, tier"),
    ],
)
async def test_a_loop_that_cannot_be_is_refused(made: LoopWish, where: str) -> None:
    """Before anything is stored, with the field."""
    async with night() as hub:
        with pytest.raises(InvalidInputError) as caught:
            await hub.desk.create(made)
        assert caught.value.where == where
        assert (await hub.desk.listed()).loops == ()


async def test_names_are_given_once_and_known_loops_are_found() -> None:
    """Twice is a conflict; an unknown one is not found; one that runs cannot be dropped."""
    async with night() as hub:
        await hub.desk.create(wish())
        with pytest.raises(ConflictError, match="exists"):
            await hub.desk.create(wish())
        with pytest.raises(ConflictError, match="stop night"):
            await hub.desk.drop("night")
        for call in (hub.desk.show, hub.desk.drop, hub.desk.history):
            with pytest.raises(NotFoundError, match="ostler loop list"):
                await call("day")
        with pytest.raises(InvalidInputError, match="did you mean 'start'"):
            await hub.desk.act("night", "strat")
        await hub.desk.act("night", "stop")
        await hub.desk.drop("night")
        assert (await hub.desk.listed()).loops == ()


async def test_a_change_names_only_what_is_to_be_other() -> None:
    """An interval ends a cron expression; hours alone mean no minutes."""
    async with night() as hub:
        await hub.desk.create(wish(start=False, cron="0 9 * * *", stimulus="look"))

        async def changed(**fields: object) -> LoopAnswer:
            return await hub.desk.change("night", msgspec.convert(fields, ScheduleChange))

        assert (await changed(max_loops=3)).loop.schedule.cron == "0 9 * * *"
        hours = (await changed(interval_hours=2)).loop.schedule
        assert (hours.cron, hours.interval_ms, hours.max_loops, hours.stimulus) == ("", 4 * HALF_HOUR, 3, "look")


class Dying(MemoryStore):
    """Dies at one of its writes about loops or their tasks, before or after it is durable."""

    def __init__(self, fatal: int) -> None:
        super().__init__()
        self.fatal = fatal
        self.moments = 0

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        if not any(isinstance(command, SaveLoop | SubmitTasks) for command in commands):
            return await super().apply(commands)
        self._moment()
        results = await super().apply(commands)
        self._moment()
        return results

    def _moment(self) -> None:
        self.moments += 1
        if self.moments == self.fatal:
            raise StoreError("killed")

    def revive(self) -> None:
        """The disk is as it was."""
        self.fatal = 0
        self._closed = False
