"""Alerts over whatever a hub goes through: blips silent, what lasts told once, the log and the table of one mind."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest

from ostler.domain.alert_rules import RULES, Rule, rule_of
from ostler.domain.alerts import RAISED, AlertState
from ostler.domain.event import Event
from ostler.domain.fleet import ProbeStatus
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.alert_desk import AlertRules
from ostler.hub.alert_views import AlertNote
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import local

STEP_MS = 5_000
OBEY = AlertRules(
    rules={
        "tier_down": Rule(name="tier_down", for_ms=60_000, clear_ms=20_000, cooldown_ms=300_000),
        "no_worker": rule_of("no_worker"),
        "queue_growing": rule_of("queue_growing"),
    }
)


async def put(built: House, *, up: bool) -> None:
    """An endpoint that goes or comes back, as probes see it."""
    built.watch.status = ProbeStatus.AVAILABLE if up else ProbeStatus.UNAVAILABLE
    for _ in range(2):
        await built.watch.probe_now("stable")


async def play(seed: int, steps: int = 150) -> tuple[list[Event], list[tuple[int, int]], dict[str, AlertState]]:
    """Outages of random length; the events of alerts, the outages (from, to), and the states kept."""
    random, store = Random(seed), MemoryStore()
    outages: list[tuple[int, int]] = []
    async with house(store) as built:
        desk = built.hub.alerts
        desk.obey = OBEY
        await built.hub.endpoints.add(local("stable"))
        down_ms, left = None, 0
        for number in range(steps):
            if left == 0:
                left = random.choice([1, 1, 2, 4, 13, 30])
                await put(built, up=down_ms is not None)
                if down_ms is None:
                    down_ms = built.clock.now_ms()
                else:
                    outages.append((down_ms, built.clock.now_ms()))
                    down_ms = None
            left -= 1
            if random.random() < 0.1:
                await built.hub.submit([TaskSpec(id=f"t{number}", kind=TaskKind.COMMAND, argv=("true",))])
            built.clock.pass_ms(STEP_MS)
            await desk.look()
            if random.random() < 0.05:
                await desk.acknowledge(AlertNote(by="ann"))
        if down_ms is not None:
            outages.append((down_ms, built.clock.now_ms()))
        shown = {row.id: row.alert for row in (await desk.alerts(every=True)).alerts}
        stored = {alert.id: alert for alert in await store.alerts()}
        assert {name: alert.state for name, alert in shown.items()} == {
            name: alert.state for name, alert in stored.items()
        }, "what is shown is what is kept"
        events = [event for event in await store.events(limit=100_000) if event.name in _TOLD]
    return events, outages, {name: alert.state for name, alert in stored.items()}


_TOLD = {"alert.raised", "alert.cleared", "alert.acknowledged"}


def of_tier(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.metadata["rule"] == "tier_down"]


@pytest.mark.parametrize("seed", range(6))
async def test_an_outage_is_told_of_only_when_it_lasted(seed: int) -> None:
    """Every alert lies within an outage that had lasted for the threshold, and no two within the cool-down."""
    events, outages, _ = await play(seed)

    raised = [event.at_ms for event in of_tier(events) if event.name == "alert.raised"]
    for at_ms in raised:
        since = [start for start, end in outages if start <= at_ms <= end + STEP_MS]
        assert since, "an alert belongs to an outage"
        assert at_ms - since[-1] >= 60_000 - STEP_MS, "a blip is silent"
    assert all(later - earlier >= 300_000 for earlier, later in pairwise(raised)), "the cool-down holds"


@pytest.mark.parametrize("seed", range(6))
async def test_a_long_outage_is_never_missed(seed: int) -> None:
    """One that outlasts threshold and cool-down together has an alert that stood in it."""
    events, outages, _ = await play(seed)
    spans: list[list[int]] = []
    for event in of_tier(events):
        if event.name == "alert.raised":
            spans.append([event.at_ms, 2**62])
        elif event.name == "alert.cleared":
            spans[-1][1] = event.at_ms

    for start, end in outages:
        if end - start > 60_000 + 300_000 + 2 * STEP_MS:
            assert any(low <= end and high >= start for low, high in spans), "it was told of"


@pytest.mark.parametrize("seed", range(4))
async def test_the_events_alone_say_where_every_alert_stands(seed: int) -> None:
    """Raised and cleared take turns; playing the events again gives the states of the table."""
    events, _, kept = await play(seed)
    states: dict[str, AlertState] = {}
    for event in events:
        subject = event.metadata["subject"]
        name = f"{event.metadata['rule']}:{subject}" if subject else str(event.metadata["rule"])
        before = states.get(name, AlertState.CLEARED)
        if event.name == "alert.raised":
            assert before is AlertState.CLEARED
            states[name] = AlertState.ACTIVE
        elif event.name == "alert.acknowledged":
            assert before is AlertState.ACTIVE
            states[name] = AlertState.ACKNOWLEDGED
        else:
            assert before in RAISED
            states[name] = AlertState.CLEARED

    assert states == kept


async def test_equal_days_give_equal_alerts() -> None:
    """Nothing depends on the order of sets or on the real clock."""
    first, again = await play(3), await play(3)

    assert [(event.name, event.at_ms, dict(event.metadata)) for event in first[0]] == [
        (event.name, event.at_ms, dict(event.metadata)) for event in again[0]
    ]


async def test_looks_of_many_at_once_raise_an_alert_once() -> None:
    """A regular look, a hurried one and a person's: one row, one event."""
    async with house() as built:
        desk = built.hub.alerts
        desk.obey = AlertRules(rules={name: Rule(name=name) for name in RULES})
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])

        found = await asyncio.gather(*(desk.look() for _ in range(10)))
        await desk.acknowledge(AlertNote())

        assert sum(len(changes) for changes in found) == 1
        events = await built.store.events(limit=100)
        assert sum(event.name == "alert.raised" for event in events) == 1
