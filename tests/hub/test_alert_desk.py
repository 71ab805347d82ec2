"""Alerts of a hub: found by looking, kept before they are told, taken up after a restart, answered by people."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from ostler.alerts.machine import Change, Told
from ostler.domain.alert_rules import RULES, Rule, rule_of
from ostler.domain.alerts import Alert, AlertState
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.commands import AppendEvents, PutAlerts, PutCalls, Settle
from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.event import CATALOGUE, Event
from ostler.domain.fleet import ProbeStatus, WorkerOffer
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.limits import BudgetPolicy, Limit
from ostler.domain.policy import Policy, SchedulerPolicy
from ostler.domain.ports import Store
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Progress, Started
from ostler.hub.alert_desk import AlertDesk, AlertRules
from ostler.hub.alert_views import AlertNote, Delivered
from ostler.scheduling.signals import Charged
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import three_tiers
from tests.web import call_samples

AT_ONCE = AlertRules(
    rules={name: replace(rule_of(name), for_ms=0) for name in RULES}, every_ms=3_600_000, start_after_ms=3_600_000
)
LOCAL = EndpointSpec(
    name="stable", url="http://127.0.0.1:1", kind=EndpointKind.OLLAMA, provider="ollama", host="h", local=True, slots=2
)


class Outside:
    """A delivery that remembers."""

    def __init__(self) -> None:
        self.changes: list[tuple[Told, str]] = []

    def tell(self, change: Change) -> None:
        self.changes.append((change.told, change.alert.id))

    async def test(self, alert: Alert) -> Sequence[Delivered]:
        return [Delivered(to="here", outcome="told", detail=alert.message)]


@asynccontextmanager
async def watched(
    store: Store | None = None, policy: Policy | None = None, obey: AlertRules = AT_ONCE
) -> AsyncIterator[tuple[House, AlertDesk, Outside]]:
    async with house(store, policy) as built:
        desk, told = built.hub.alerts, Outside()
        desk.obey, desk.delivery = obey, told
        await desk.start()
        try:
            yield built, desk, told
        finally:
            await desk.stop()


async def join(built: House) -> str:
    offer = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2})
    return (await built.hub.link.join(offer)).id


async def raised(desk: AlertDesk) -> list[str]:
    return [row.id for row in (await desk.alerts()).alerts]


async def test_a_hub_that_is_well_has_no_alert() -> None:
    """A worker, nothing open: the list is empty and shows every rule."""
    async with watched() as (built, desk, told):
        await join(built)
        await desk.look()

        answer = await desk.alerts(every=True)
        assert (answer.alerts, told.changes) == ((), [])
        assert [row.name for row in answer.rules] == list(RULES)


async def test_an_alert_is_kept_with_its_event_and_then_told() -> None:
    """One row, one event with the fields of the catalogue, one message; a second look adds nothing."""
    async with watched() as (built, desk, told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        await desk.look()
        await desk.look()

        assert told.changes == [(Told.RAISED, "no_worker")]
        (kept,) = await built.store.alerts()
        assert (kept.id, kept.state, kept.times) == ("no_worker", AlertState.ACTIVE, 1)
        (event,) = [one for one in await built.store.events(limit=100) if one.name == "alert.raised"]
        kind = CATALOGUE["alert.raised"]
        assert (set(event.measurements), set(event.metadata)) == (set(kind.measurements), set(kind.metadata))
        assert event.metadata["rule"] == "no_worker"

        await join(built)
        await desk.look()
        assert told.changes[1:] == [(Told.CLEARED, "no_worker")]
        (event,) = [one for one in await built.store.events(limit=100) if one.name == "alert.cleared"]
        assert set(event.metadata) == set(CATALOGUE["alert.cleared"].metadata)
        assert await raised(desk) == []
        assert [row.id for row in (await desk.alerts(every=True)).alerts] == ["no_worker"]


async def test_a_tier_is_told_of_once_it_was_down_for_the_threshold_and_when_it_is_back() -> None:
    """Silent below the threshold; the time counts from when the scheduler saw it go."""
    obey = replace(AT_ONCE, rules={"tier_down": rule_of("tier_down")})
    async with watched(obey=obey) as (built, desk, told):
        await built.hub.endpoints.add(LOCAL)
        built.watch.status = ProbeStatus.UNAVAILABLE
        await built.watch.probe_now("stable")
        await built.watch.probe_now("stable")
        await desk.look()
        built.clock.pass_ms(59_000)
        await desk.look()
        assert told.changes == []

        built.clock.pass_ms(2_000)
        await desk.look()
        assert told.changes == [(Told.RAISED, "tier_down:standard")]

        built.watch.status = ProbeStatus.AVAILABLE
        await built.watch.probe_now("stable")
        await desk.look()
        assert told.changes[1:] == [(Told.CLEARED, "tier_down:standard")]


async def test_after_a_restart_alerts_are_as_they_were() -> None:
    """Acknowledged stays acknowledged and is not told again; the cool-down goes on."""
    store = MemoryStore()
    async with house(store) as built:
        desk = built.hub.alerts
        desk.obey = AT_ONCE
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        await desk.look()
        await desk.acknowledge(AlertNote(id="no_worker", by="ann"))
        kept = await store.alerts()

    again = MemoryStore()
    await again.apply([PutAlerts(alerts=tuple(kept))])
    async with watched(again) as (built, desk, told):
        assert await raised(desk) == ["no_worker"]
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        await desk.look()
        assert told.changes == []

        await join(built)
        await desk.look()
        session = next(iter(built.pump.scheduler.books.workers.states))
        await built.hub.link.leave(session)
        await desk.look()
        assert told.changes == [(Told.CLEARED, "no_worker")], "within the cool-down it is not raised again"


async def test_acknowledging_is_kept_and_told_as_an_event() -> None:
    """Safe to repeat; by name, or all that are active."""
    async with watched() as (built, desk, _told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        await desk.look()

        answer = await desk.acknowledge(AlertNote(id="no_worker", by="ann", note="on it"))
        await desk.acknowledge(AlertNote(id="no_worker", by="bob"))
        await desk.acknowledge(AlertNote(by="bob"))

        (row,) = answer.alerts
        assert (row.alert.state, row.alert.acknowledged_by, row.alert.note) == (
            AlertState.ACKNOWLEDGED,
            "ann",
            "on it",
        )
        assert (await built.store.alerts()) == [row.alert]
        (event,) = [one for one in await built.store.events(limit=100) if one.name == "alert.acknowledged"]
        assert dict(event.metadata) == {"rule": "no_worker", "subject": "", "by": "ann", "note": "on it"}


async def test_what_is_not_raised_cannot_be_acknowledged() -> None:
    """Unknown: the nearest name; cleared: a conflict."""
    async with watched() as (built, desk, _told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        await desk.look()
        with pytest.raises(NotFoundError) as error:
            await desk.acknowledge(AlertNote(id="no_wroker"))
        assert "no_worker" in error.value.remedy

        await join(built)
        await desk.look()
        with pytest.raises(ConflictError):
            await desk.acknowledge(AlertNote(id="no_worker"))


async def test_a_task_without_a_sign_of_life_is_stuck_and_progress_is_one() -> None:
    """Each report of its worker counts from anew; a finished task is forgotten."""
    obey = replace(AT_ONCE, rules={"task_stuck": rule_of("task_stuck")})
    patient = replace(three_tiers(), scheduler=SchedulerPolicy(session_dead_ms=10**9, task_ttl_ms=0))
    async with watched(policy=patient, obey=obey) as (built, desk, told):
        session = await join(built)
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        poll = await built.hub.link.poll(session, 1_000)
        generation = poll.assignments[0].generation
        await built.hub.link.report(session, [Started(task_id="t", generation=generation, at_ms=1)])

        built.clock.pass_ms(290_000)
        progress = Progress(task_id="t", generation=generation, at_ms=2, output_tokens=7, tail="secret")
        await built.hub.link.report(session, [progress])
        sign = built.hub.signs.of("t", generation)
        assert sign is not None
        assert sign.output_tokens == 7
        built.clock.pass_ms(290_000)
        await desk.look()
        assert told.changes == []

        built.clock.pass_ms(20_000)
        await desk.look()
        assert told.changes == [(Told.RAISED, "task_stuck")]


async def test_failures_of_attempts_and_calls_are_counted_together() -> None:
    """Calls whose client hung up count as neither; lost records are counted by how many."""
    async with watched() as (built, desk, _told):
        now_ms = built.clock.now_ms()
        record = call_samples.CALLS.calls[0]
        records = [
            replace(record, id=f"c{number}", at_ms=now_ms, failure=failure)
            for number, failure in enumerate([FailureClass.SERVER] * 9 + [FailureClass.CANCELLED] * 9 + [None])
        ]
        await built.pump.apply([PutCalls(records=tuple(records))])
        lost = Event(name="call.records_dropped", at_ms=now_ms, measurements={"dropped": 3})
        bad = [Event(name=name, at_ms=now_ms, task_id="x") for name in ("task.retry_wait", "task.dead_letter")]
        await built.pump.apply([AppendEvents(events=(lost, *bad))])
        await desk.look()

        shown = {row.id: row.alert for row in (await desk.alerts()).alerts}
        assert shown["errors"].value == 11
        assert shown["failure_share"].value == pytest.approx(100 * 11 / 12)
        assert shown["records_lost"].value == 3


async def test_failures_before_a_restart_still_count() -> None:
    """A rate does not look good only because the hub is new."""
    store = MemoryStore()
    async with house(store) as built:
        now_ms = built.clock.now_ms()
        bad = [Event(name="task.failed", at_ms=now_ms, task_id=str(number)) for number in range(11)]
        await built.pump.apply([AppendEvents(events=tuple(bad))])
        events = await store.events(limit=100)
    again = MemoryStore()
    await again.apply([AppendEvents(events=tuple(events))])

    async with watched(again) as (_built, desk, _told):
        await desk.look()
        assert "errors" in await raised(desk)


async def test_a_limit_that_is_reached_is_raised_until_its_window_is_over() -> None:
    """Soft and hard apart; what is below again is cleared."""
    limit = Limit(name="all-time", soft=800, hard=1_000)
    policy = replace(three_tiers(), budget=BudgetPolicy(limits=(limit,)))
    async with watched(policy=policy) as (built, desk, told):
        await join(built)
        await built.pump.post(Charged(command=Settle(attempt="x", at_ms=1_000_000, amount=Amount(micro_usd=900))))
        await desk.look()
        assert told.changes == [(Told.RAISED, "budget_soft:all-time")]

        spent = Settle(attempt="y", at_ms=1_000_000, amount=Amount(micro_usd=200), scopes=Scopes())
        await built.pump.post(Charged(command=spent))
        await desk.look()
        assert told.changes[1:] == [(Told.RAISED, "budget_hard:all-time")]
        assert "all-time" in (await desk.alerts()).alerts[0].alert.message

        roomier = replace(policy, budget=BudgetPolicy(limits=(replace(limit, soft=5_000, hard=6_000),)))
        await built.hub.reload(roomier, ())
        await desk.look()
        assert set(told.changes[2:]) == {
            (Told.CLEARED, "budget_hard:all-time"),
            (Told.CLEARED, "budget_soft:all-time"),
        }


async def test_the_worst_alert_stands_first() -> None:
    """Active before acknowledged, critical before warning."""
    async with watched() as (built, desk, _told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        bad = [Event(name="task.failed", at_ms=built.clock.now_ms(), task_id=str(number)) for number in range(11)]
        await built.pump.apply([AppendEvents(events=tuple(bad))])
        await desk.look()
        assert await raised(desk) == ["no_worker", "errors", "failure_share"]

        await desk.acknowledge(AlertNote(id="no_worker"))
        assert await raised(desk) == ["errors", "failure_share", "no_worker"]


async def test_an_event_that_matters_hurries_the_look() -> None:
    """A worker that is lost is not waited for: the next look comes at once, and does not count for the queue."""
    obey = AlertRules(rules={"no_worker": Rule(name="no_worker")}, every_ms=3_600_000, start_after_ms=0)
    async with watched(obey=obey) as (built, _desk, told):
        session = await join(built)
        async with asyncio.timeout(5):
            while not told.changes:
                await built.hub.link.leave(session)
                await asyncio.sleep(0.01)

        assert told.changes == [(Told.RAISED, "no_worker")]


async def test_a_test_is_told_everywhere_and_kept_nowhere() -> None:
    """It is no alert: the list does not show it."""
    async with watched() as (built, desk, _told):
        answer = await desk.test()

        assert [(place.to, place.outcome) for place in answer.places] == [("here", "told")]
        assert await built.store.alerts() == []
        desk.delivery = None
        assert (await desk.test()).places == ()


async def test_what_could_not_be_told_becomes_an_event() -> None:
    """With who, what and why."""
    async with watched() as (built, desk, _told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        (change,) = await desk.look()
        await desk.undelivered(change, "webhook ops", 4, "it answered with status 500")

        (event,) = [one for one in await built.store.events(limit=100) if one.name == "alert.undelivered"]
        assert set(event.metadata) == set(CATALOGUE["alert.undelivered"].metadata)
        assert (event.metadata["to"], event.measurements["attempts"]) == ("webhook ops", 4)


async def test_a_look_that_fails_is_logged_and_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours would otherwise be silence, which looks like good news."""
    looks = 0
    obey = AlertRules(rules={"no_worker": Rule(name="no_worker")}, every_ms=1, start_after_ms=0)
    async with watched(obey=obey) as (built, desk, told):
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        whole = desk.look

        async def look(*, sample: bool = True) -> tuple[Change, ...]:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise KeyError("a mistake")
            return await whole(sample=sample)

        monkeypatch.setattr(desk, "look", look)
        with capture_logs() as lines:
            async with asyncio.timeout(5):
                while not told.changes:  # noqa: ASYNC110 - what is waited for is the desk itself
                    await asyncio.sleep(0.005)

    assert told.changes == [(Told.RAISED, "no_worker")]
    assert [line["kind"] for line in lines] == ["KeyError"]
