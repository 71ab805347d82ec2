"""What the rules are shown of a hub: read off the books, nothing guessed."""

import pytest
from msgspec.structs import replace

from ostler.alerts.facts import Facts
from ostler.domain.commands import AppendEvents, Applied, PutCalls, Settle
from ostler.domain.event import Event
from ostler.domain.fleet import ProbeStatus, WorkerOffer
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.limits import (
    Allowance,
    BudgetPolicy,
    Limit,
    Pace,
    PartKey,
    PoolPart,
    ScopeKind,
    Subscription,
    Unit,
    Window,
    WindowKind,
)
from ostler.domain.policy import Policy, SchedulerPolicy
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.alert_facts import Counted, facts_of
from ostler.scheduling.signals import Charged, PartsTold
from tests.hub.house import House, house
from tests.scheduling.rig import local, three_tiers
from tests.web import call_samples

COMMAND = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))
HOUR_MS = 3_600_000


def facts(built: House, counted: Counted | None = None, **more: object) -> Facts:
    return facts_of(
        built.pump.scheduler.books,
        built.hub.signs,
        counted or Counted(),
        built.clock.now_ms(),
        worker_seen=False,
        **more,  # type: ignore[arg-type]
    )


async def test_a_new_hub_shows_nothing_that_anyone_should_know() -> None:
    """No worker, but none was here and no work is open."""
    async with house() as built:
        found = facts(built)

    assert (found.queued, found.workers, found.worker_needed, found.failed, found.limits) == (0, 0, False, 0, ())


async def test_open_work_needs_a_worker_and_so_does_one_that_was_here() -> None:
    """Either is enough."""
    async with house() as built:
        await built.hub.submit([COMMAND])
        found = facts(built)
        assert (found.queued, found.worker_needed) == (1, True)
    async with house() as built:
        seen = facts_of(built.pump.scheduler.books, built.hub.signs, Counted(), 1, worker_seen=True)
        assert (seen.workers, seen.worker_needed) == (0, True)


async def test_a_task_that_waits_for_a_person_is_named() -> None:
    """The first by name, so that equal hubs say equal words."""
    async with house() as built:
        session = (await built.hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2}))).id
        await built.hub.submit([replace(COMMAND, id=name) for name in ("b", "a")])
        poll = await built.hub.link.poll(session, 1_000)
        failure = Failure(kind=FailureClass.POLICY, message="ask first", at_ms=1)
        for given in poll.assignments:
            task_id, generation = given.task_id, given.generation
            await built.hub.link.report(session, [Started(task_id=task_id, generation=generation, at_ms=1)])
            report = Finished(task_id=task_id, generation=generation, at_ms=2, ok=False, failure=failure)
            await built.hub.link.report(session, [report])
        found = facts(built)

    assert (found.needs_human, found.needs_human_example) == (2, "a")


async def test_silence_counts_from_the_newest_of_report_and_transition() -> None:
    """An attempt that was just given out is not silent yet."""
    policy = replace(three_tiers(), scheduler=SchedulerPolicy(session_dead_ms=10**9, task_ttl_ms=0))
    async with house(policy=policy) as built:
        session = (await built.hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}))).id
        built.clock.pass_ms(500_000)
        await built.hub.submit([COMMAND])
        (given,) = (await built.hub.link.poll(session, 1_000)).assignments
        assert facts(built).stuck["t"] < 1_000

        built.clock.pass_ms(7_000)
        await built.hub.link.report(session, [Started(task_id="t", generation=given.generation, at_ms=1)])
        built.clock.pass_ms(3_000)

        assert 3_000 <= facts(built).stuck["t"] < 4_000


async def test_a_queued_task_is_never_stuck() -> None:
    """It waits for a reason, and that reason is shown elsewhere."""
    async with house() as built:
        await built.hub.submit([COMMAND])
        built.clock.pass_ms(10**6)

        assert facts(built).stuck == {}


async def test_a_tier_that_is_down_is_shown_with_when_it_went() -> None:
    """As the scheduler noted it."""
    async with house() as built:
        await built.hub.endpoints.add(local("stable"))
        built.watch.status = ProbeStatus.UNAVAILABLE
        await built.watch.probe_now("stable")
        await built.watch.probe_now("stable")
        gone_ms = built.clock.now_ms()
        built.clock.pass_ms(5_000)

        (since_ms,) = facts(built).tiers_down.values()

    assert abs(since_ms - gone_ms) < 100


def budgeted(*limits: Limit, subscriptions: tuple[Subscription, ...] = ()) -> Policy:
    return replace(three_tiers(), budget=BudgetPolicy(limits=limits, subscriptions=subscriptions))


async def spend(built: House, name: str, micro_usd: int, **scopes: str) -> None:
    amount = Amount(micro_usd=micro_usd)
    command = Settle(attempt=name, at_ms=built.clock.now_ms(), amount=amount, scopes=Scopes(**scopes))
    await built.pump.post(Charged(command=command))


async def test_limits_are_shown_from_their_soft_value_on_with_whose_they_are() -> None:
    """All work, one thing by name, and each thing that has crossed; what is below says nothing."""
    limits = (
        Limit(name="month", soft=100, hard=1_000),
        Limit(name="openai", scope=ScopeKind.PROVIDER, of="openai", hard=50),
        Limit(name="each", scope=ScopeKind.PROVIDER, soft=20, hard=90),
        Limit(name="far", hard=10**9),
    )
    async with house(policy=budgeted(*limits)) as built:
        assert facts(built).limits == ()
        await spend(built, "a", 60, provider="openai")
        await spend(built, "b", 45, provider="anthropic")

        found = {(one.limit, one.of): one for one in facts(built).limits}

    assert {key: one.exhausted for key, one in found.items()} == {
        ("month", ""): False,
        ("openai", "openai"): True,
        ("each", "openai"): False,
        ("each", "anthropic"): False,
    }
    assert "of anthropic" in found["each", "anthropic"].said


async def test_a_limit_that_pools_reached_together_is_shown_with_what_was_spent_where() -> None:
    """Also where nothing was spent here."""
    limit = Limit(name="calls", window=Window(kind=WindowKind.NONE), unit=Unit.REQUESTS, hard=10)
    async with house(policy=budgeted(limit)) as built:
        part = PoolPart(most=0, total=8, spent=8, pools=("lab",))
        await built.pump.post(PartsTold(parts={PartKey("calls", "", 0): part}))
        (found,) = facts(built).limits

    assert found.exhausted
    assert found.said == "limit calls: 0 requests here and 8 requests in other pools of 8 requests used"


async def test_whose_a_limit_is_may_be_known_from_an_alert_alone() -> None:
    """After a restart the books have told of nothing yet, but the alert stands."""
    limit = Limit(name="each", scope=ScopeKind.PROVIDER, soft=20, window=Window(kind=WindowKind.NONE))
    async with house(policy=budgeted(limit)) as built:
        await spend(built, "a", 30, provider="openai")
        built.pump.scheduler.books.crossed.clear()

        assert facts(built).limits == ()
        (found,) = facts(built, limits_known=[("each", "openai"), ("each", "nobody"), ("gone", "x")]).limits

    assert (found.limit, found.of) == ("each", "openai")


@pytest.mark.parametrize(("used", "shown"), [(0, 0.0), (17, 85.0), (20, 100.0)])
async def test_an_allowance_is_shown_by_how_much_of_it_is_used(used: int, shown: float) -> None:
    """In percent of the whole, with the share at which its provider wants to be told of."""
    week = Allowance(name="week", window=Window(kind=WindowKind.NONE), unit=Unit.REQUESTS, amount=20)
    paid = Subscription(provider="anthropic", allowances=(week,), pace=Pace.NONE, warn_percent=85)
    async with house(policy=budgeted(subscriptions=(paid,))) as built:
        for number in range(used):
            await spend(built, f"a{number}", 0, provider="anthropic")

        (found,) = facts(built).allowances

    assert (found.provider, found.allowance, found.used_percent, found.warn_percent) == ("anthropic", "week", shown, 85)


def test_each_way_to_end_is_counted_once() -> None:
    """A retry, a failure, a dead letter and a reclaim are failures; a cancelled or expired task is none."""
    counted = Counted()
    names = (
        "task.succeeded",
        "task.retry_wait",
        "task.failed",
        "task.dead_letter",
        "task.reclaimed",
        "task.cancelled",
        "task.expired",
        "task.queued",
    )
    events = tuple(Event(name=name, at_ms=HOUR_MS) for name in names)
    counted.observe([(AppendEvents(events=events), Applied())])

    assert dict(counted.hour.total(HOUR_MS)) == {"succeeded": 1, "failed": 4}


def test_only_attempts_of_models_are_calls_to_models() -> None:
    """A command that starts calls none; a live call is one, however it ends."""
    counted = Counted()
    started = tuple(
        Event(name="task.started", at_ms=HOUR_MS, metadata={"model": model}) for model in ("qwen", None, "claude")
    )
    good = replace(call_samples.GOOD, at_ms=HOUR_MS)
    hung_up = replace(good, id="c2", failure=FailureClass.CANCELLED)
    counted.observe([(AppendEvents(events=started), Applied()), (PutCalls(records=(good, hung_up)), Applied())])

    assert dict(counted.hour.total(HOUR_MS)) == {"calls": 4, "succeeded": 1}


def test_after_an_hour_it_is_forgotten() -> None:
    """Exact to a minute."""
    counted = Counted()
    counted.event("task.failed", HOUR_MS, has_model=False)

    assert counted.hour.total(2 * HOUR_MS)["failed"] == 1
    assert counted.hour.total(2 * HOUR_MS + 60_000)["failed"] == 0
