"""Plans of runs: made from how things are, kept, followed, made anew, shown beside what happened."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest

from ostler.domain.commands import AppendEvents, Applied, Command, PutPlan
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.event import Event
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.plan_views import PlanWish
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.signals import EndpointAdded, LoadEnded, Probed, Restored
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.hub.test_service import WORKER
from tests.scheduling.hosts_made import MODELS, policy
from tests.scheduling.rig import local


def chat(name: str, model: str, **fields: object) -> TaskSpec:
    raw = {"id": f"r.{name}", "prompt": "say something", "tier": model, "batch": "r", "expected_ms": 60_000}
    return msgspec.convert(raw | fields, TaskSpec)


WORK = (chat("a", "big"), chat("b", "other", needs=["r.a"]), chat("c", "big"))


class Machines:
    """Carries out loads when it is told to."""

    def __init__(self, built: House) -> None:
        self.built = built
        self.asked: list[LoadModel] = []
        built.pump.load = self.begin

    def begin(self, effect: LoadModel | UnloadModel) -> None:
        assert isinstance(effect, LoadModel)
        self.asked.append(effect)

    async def loaded(self) -> str:
        """The oldest load ends, twenty seconds later."""
        effect = self.asked.pop(0)
        started_ms = self.built.clock.now_ms()
        self.built.clock.pass_ms(20_000)
        await self.built.pump.post(
            LoadEnded(
                endpoint=effect.endpoint,
                model=effect.model,
                context_tokens=effect.context_tokens,
                started_ms=started_ms,
                at_ms=self.built.clock.now_ms(),
                load_ms=20_000,
                resident=Resident(model=effect.model, context_tokens=effect.context_tokens),
            )
        )
        return effect.model


async def until(built: House, is_so: Callable[[], bool]) -> None:
    """Wait for what some commit will bring."""
    async with asyncio.timeout(10), built.pump.news:
        await built.pump.news.wait_for(is_so)


def of_plans(stored: Sequence[tuple[Command, Applied]]) -> list[Event]:
    """What was said of plans that are kept."""
    events = [event for command, _ in stored if isinstance(command, AppendEvents) for event in command.events]
    return [event for event in events if event.name == "plan.kept"]


def near(value: int | None) -> object:
    """An instant on a clock that moves a little with every look."""
    return pytest.approx(value, abs=200)


async def machines(built: House) -> Machines:
    """One machine with three models, two of which exclude each other; nothing is loaded."""
    made = Machines(built)
    built.watch.models = MODELS
    await built.desk.start(local("box", slots=2), "profile")
    return made


async def run_one(built: House, session: str, *, ok: bool = True, took_ms: int = 60_000) -> str:
    """Run the next assignment."""
    poll = await built.hub.link.poll(session, 1_000)
    item = poll.assignments[0]
    start = Started(task_id=item.task_id, generation=item.generation, at_ms=built.clock.now_ms())
    await built.hub.link.report(session, [start])
    built.clock.pass_ms(took_ms)
    failure = None if ok else Failure(kind=FailureClass.SERVER, message="no", at_ms=built.clock.now_ms())
    end = Finished(
        task_id=item.task_id,
        generation=item.generation,
        at_ms=built.clock.now_ms(),
        ok=ok,
        failure=failure,
        output="done",
    )
    await built.hub.link.report(session, [end])
    return item.task_id


async def test_a_run_is_planned_and_the_plan_is_kept_before_it_is_followed() -> None:
    """Both tasks of the first model, a swap, the other model: durable, in force, with a bound."""
    async with house(policy=policy()) as built:
        await machines(built)
        await built.hub.submit(WORK)
        made = await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)

        assert [(row.task, row.planned_start_ms) for row in made.rows] == [
            ("r.a", 20_000),
            ("r.c", 20_000),
            ("r.b", 110_000),
        ]
        (version,) = made.versions
        assert (version.version, version.reason, version.makespan_ms) == (1, "start", 170_000)
        assert 0 < version.bound_ms <= version.makespan_ms
        assert made.following
        assert [plan.version for plan in await built.store.plans("r")] == [1]
        assert built.pump.scheduler.books.following["r"].guide.placements


async def test_planned_and_actual_are_shown_side_by_side() -> None:
    """Calls and loads as they were, in the same form as the plan."""
    async with house(policy=policy()) as built:
        made = await machines(built)
        session = (await built.hub.link.join(WORKER)).id
        await built.hub.submit(WORK[:1])
        await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)
        built.clock.pass_ms(5_000)
        assert await made.loaded() == "big"
        await run_one(built, session, took_ms=70_000)
        shown = await built.hub.plans.show("r")

    (row,) = shown.rows
    assert (row.planned_start_ms, row.planned_end_ms) == (20_000, 80_000)
    assert (row.host, row.start_ms, row.end_ms, row.late_ms) == ("box", near(25_000), near(95_000), near(15_000))
    assert shown.planned_figures.makespan_ms == 80_000
    assert shown.actual_figures.makespan_ms == near(95_000)
    (stay,) = shown.actual.plan.episodes
    assert (stay.model, stay.load_start_ms, stay.ready_ms) == ("big", near(5_000), near(25_000))
    assert not shown.following


async def test_a_failure_has_a_new_version_made_for_what_is_left() -> None:
    """The scheduler asks, the desk answers; the version says why."""
    async with house(policy=policy()) as built:
        made = await machines(built)
        session = (await built.hub.link.join(WORKER)).id
        await built.hub.submit(WORK)
        await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)
        await made.loaded()
        failed = await run_one(built, session, ok=False)
        following = built.pump.scheduler.books.following
        await until(built, lambda: following["r"].guide.version == 2)
        shown = await built.hub.plans.show("r")

    assert failed == "r.a"
    assert [(version.version, version.reason) for version in shown.versions] == [(1, "start"), (2, "failed: r.a")]


async def test_a_plan_that_cannot_be_made_anew_is_followed_on_and_that_is_said() -> None:
    """Its order is still better than none."""

    async def refuse(instance: Instance, *, strategy: str, seconds: float) -> Plan:
        del instance, strategy, seconds
        raise ConflictError("no plan was made: nobody searches today")

    async with house(policy=policy()) as built:
        made = await machines(built)
        session = (await built.hub.link.join(WORKER)).id
        await built.hub.submit(WORK)
        await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)
        built.pump.replan = PlanDesk(built.pump, built.store, refuse).ask
        await made.loaded()
        said: list[Event] = []
        built.pump.observers.append(lambda stored: said.extend(of_plans(stored)))
        await run_one(built, session, ok=False)
        await until(built, lambda: bool(said))
        assert built.pump.scheduler.books.following["r"].guide.version == 1

    (event,) = said
    assert "nobody searches today" in str(event.metadata["reason"])


async def test_the_newest_plan_is_followed_again_after_a_restart() -> None:
    """It is read from the store; what was made for a run that has ended is left alone."""
    store = MemoryStore()
    async with house(store=store, policy=policy()) as built:
        await machines(built)
        await built.hub.submit(WORK)
        await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)
        (kept,) = await store.plans("r")
        work = await store.open_work()

        again = House(store, policy())
        again.pump.start()
        await again.pump.apply([PutPlan(plan=kept)])
        await again.pump.post(Restored(tasks=work.tasks, sessions=()))
        await again.plans.restore(work.tasks)
        assert set(again.pump.scheduler.books.following) == {"r"}
        await again.pump.stop()


async def test_what_cannot_be_planned_or_shown_is_said() -> None:
    """An unknown run, a run without a plan, one that has ended, and a plan that nobody follows."""
    async with house(policy=policy()) as built:
        await machines(built)
        with pytest.raises(NotFoundError, match="no run nobody"):
            await built.hub.plans.make("nobody", strategy="portfolio", seconds=1.0)
        await built.hub.submit([chat("x", "small")])
        with pytest.raises(NotFoundError, match="run r has no plan"):
            await built.hub.plans.show("r")
        with pytest.raises(NotFoundError, match="no plan of r is followed"):
            await built.hub.plans.drop("r")
        await built.hub.cancel("r.x")
        with pytest.raises(ConflictError, match="all tasks of r have ended"):
            await built.hub.plans.make("r", strategy="portfolio", seconds=1.0)


async def test_a_dropped_plan_can_still_be_seen() -> None:
    """It was made, it is kept, it is not followed."""
    async with house(policy=policy()) as built:
        await machines(built)
        await built.hub.submit(WORK)
        await built.hub.plans.make("r", strategy="live", seconds=1.0)
        await built.hub.plans.drop("r")
        shown = await built.hub.plans.show("r")

        assert not shown.following
        assert shown.versions[0].strategy == "live"


async def test_a_run_can_be_planned_before_any_of_it_starts() -> None:
    """The first load is then the plan's."""
    async with house(policy=policy()) as built:
        made = await machines(built)
        work = [chat("x", "other", expected_ms=1_000), *(chat(name, "big", needs=["r.x"]) for name in "abc")]
        answer = await built.hub.submit(work, plan=PlanWish(seconds=0.5))

        assert answer.unplanned == ""
        assert [effect.model for effect in made.asked] == ["other"]
        assert built.pump.scheduler.books.following["r"].guide.version == 1


async def test_a_run_that_cannot_be_planned_starts_all_the_same() -> None:
    """The answer says why there is no plan."""

    async def refuse(instance: Instance, *, strategy: str, seconds: float) -> Plan:
        del instance, strategy, seconds
        raise ConflictError("no plan was made: nobody searches today")

    async with house(policy=policy()) as built:
        made = await machines(built)
        built.plans._search = refuse
        answer = await built.hub.submit(WORK, plan=PlanWish(seconds=0.5))

        assert "nobody searches today" in answer.unplanned
        assert [effect.model for effect in made.asked] == ["big"]


async def test_a_plan_is_for_one_run() -> None:
    """Nothing is handed in when it cannot be for all."""
    async with house(policy=policy()) as built:
        await machines(built)
        with pytest.raises(InvalidInputError, match="one run"):
            await built.hub.submit([chat("a", "big"), chat("b", "big", batch="s")], plan=PlanWish())
        with pytest.raises(InvalidInputError, match="one run"):
            await built.hub.submit([chat("a", "big", batch=None)], plan=PlanWish())

        assert not built.pump.scheduler.books.tasks


async def test_a_hub_that_has_just_started_looks_before_it_plans() -> None:
    """A run may be handed in before the first listing has come back."""
    async with house(policy=policy()) as built:
        Machines(built)
        await built.pump.post(EndpointAdded(spec=local("box", slots=2)))
        planning = asyncio.ensure_future(built.hub.submit(WORK, plan=PlanWish(seconds=0.5)))
        await until(built, lambda: bool(built.pump.scheduler.books.unplanned))
        listed = Probe(
            endpoint="box", status=ProbeStatus.AVAILABLE, at_ms=built.clock.now_ms(), models=MODELS, residents=()
        )
        await built.pump.post(Probed(probe=listed))

        assert (await planning).unplanned == ""
        assert set(built.pump.scheduler.books.following) == {"r"}
