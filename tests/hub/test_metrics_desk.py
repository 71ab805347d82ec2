"""The answer to a scrape: the books of this moment, beside what was counted."""

import re

from msgspec.structs import replace

from ostler.domain.alert_rules import RULES, rule_of
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.commands import Settle
from ostler.domain.fleet import ProbeStatus, WorkerOffer
from ostler.domain.ledger import Amount
from ostler.domain.limits import BudgetPolicy, Limit, PartKey, PoolPart, ScopeKind, Unit, Window, WindowKind
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.alert_desk import AlertRules
from ostler.hub.loop_views import LoopWish
from ostler.scheduling.signals import Charged, PartsTold
from ostler.telemetry.metrics import METRICS
from tests.hub.house import House, house
from tests.scheduling.rig import three_tiers
from tests.telemetry.test_exposition import parsed

LOCAL = EndpointSpec(
    name="stable", url="http://127.0.0.1:1", kind=EndpointKind.OLLAMA, provider="ollama", host="h", local=True, slots=2
)
COMMAND = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))


async def scraped(built: House) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and label values, in the order of the catalogue's labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for samples in parsed(await built.hub.metrics.text()).values():
        for name, labels, value in samples:
            order = METRICS[name].labels if name in METRICS else tuple(labels)
            found.setdefault(name, {})[tuple(labels[label] for label in order)] = value
    return found


async def test_a_new_hub_answers_with_what_it_is() -> None:
    """Version, profile, start; nothing that it does not have."""
    async with house() as built:
        found = await scraped(built)

        assert found["ostler_info"] == {("test", built.pump.scheduler.books.policy.profile): 1}
        assert found["ostler_start_time_seconds"] == {(): 1_000}
        assert found["ostler_workers"] == {(): 0}
        assert found["process_resident_memory_bytes"][()] > 1_000_000
        assert "ostler_tasks" not in found


async def test_the_queue_is_shown_by_what_it_waits_for_and_since_when() -> None:
    """Tasks by state, groups by reason, the oldest of each."""
    async with house() as built:
        await built.hub.submit([COMMAND, replace(COMMAND, id="u")])
        built.clock.pass_ms(5_000)

        found = await scraped(built)

        assert found["ostler_tasks"] == {("queued",): 2}
        assert sum(found["ostler_queue"].values()) == 2
        (oldest,) = found["ostler_queue_oldest_seconds"].values()
        assert oldest >= 5


async def test_workers_and_endpoints_are_shown_with_their_slots() -> None:
    """Busy and free; a tier is up while an endpoint of it is; a breaker and a state of health are numbers."""
    async with house() as built:
        session = (await built.hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 3}))).id
        await built.hub.endpoints.add(LOCAL)
        await built.hub.submit([COMMAND])
        await built.hub.link.poll(session, 1_000)

        found = await scraped(built)
        assert found["ostler_worker_slots"] == {("command", "busy"): 1, ("command", "free"): 2}
        assert found["ostler_endpoint_up"] == {("stable",): 1}
        assert found["ostler_endpoint_slots"] == {("stable", "busy"): 0, ("stable", "free"): 2}
        assert found["ostler_breaker_open"] == {("stable",): 0}
        assert found["ostler_tier_up"][("standard",)] == 1

        built.watch.status = ProbeStatus.UNAVAILABLE
        await built.watch.probe_now("stable")
        await built.watch.probe_now("stable")
        found = await scraped(built)
        assert found["ostler_endpoint_up"] == {("stable",): 0}
        assert found["ostler_tier_up"][("standard",)] == 0


async def test_limits_for_all_work_are_shown_in_their_unit_and_those_of_each_session_are_not() -> None:
    """Dollars as dollars; of sessions there is no end."""
    limits = (
        Limit(name="month", soft=800_000, hard=2_000_000),
        Limit(name="calls", unit=Unit.REQUESTS, hard=10),
        Limit(name="session", scope=ScopeKind.SESSION, hard=5),
    )
    async with house(policy=replace(three_tiers(), budget=BudgetPolicy(limits=limits))) as built:
        await built.pump.post(Charged(command=Settle(attempt="x", at_ms=1_000_000, amount=Amount(micro_usd=500_000))))

        shown = (await scraped(built))["ostler_limit"]

        assert {key: value for key, value in shown.items() if key[2] != "held"} == {
            ("month", "usd", "used"): 0.5,
            ("month", "usd", "ceiling"): 2,
            ("calls", "requests", "used"): 1,
            ("calls", "requests", "ceiling"): 10,
        }


async def test_what_other_pools_have_of_a_limit_is_shown_beside_it() -> None:
    """Spent there and kept there, and the smallest value that one of them states."""
    limits = (Limit(name="calls", window=Window(kind=WindowKind.NONE), unit=Unit.REQUESTS, hard=10),)
    async with house(policy=replace(three_tiers(), budget=BudgetPolicy(limits=limits))) as built:
        part = PoolPart(most=3, total=8, spent=4, kept=1, pools=("lab",))
        await built.pump.post(PartsTold(parts={PartKey("calls", "", 0): part}))
        shown = (await scraped(built))["ostler_limit"]

    assert {key[2]: value for key, value in shown.items()} == {
        "used": 0,
        "held": 0,
        "ceiling": 8,
        "other_pools": 4,
        "kept_by_others": 1,
    }


async def test_raised_alerts_are_a_metric_too() -> None:
    """For who has an alert manager already."""
    async with house() as built:
        desk = built.hub.alerts
        desk.obey = AlertRules(rules={name: replace(rule_of(name), for_ms=0) for name in RULES})
        await built.hub.submit([COMMAND])
        await desk.look()

        found = await scraped(built)

        assert found["ostler_alerts"] == {("critical", "active"): 1}
        assert found["ostler_alerts_raised_total"] == {("no_worker",): 1}


async def test_loops_are_shown_by_where_they_stand() -> None:
    """One that was made and not started is idle."""
    async with house() as built:
        work = TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("true",))
        await built.hub.loops.create(LoopWish(name="nightly", work=work))

        assert (await scraped(built))["ostler_loops"] == {("idle",): 1}


async def test_everything_that_is_written_is_in_the_catalogue() -> None:
    """And every line is one that the client library reads; turned off there is nothing."""
    async with house() as built:
        await built.hub.endpoints.add(LOCAL)
        await built.hub.submit([COMMAND])
        text = await built.hub.metrics.text()

        named = set(re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE))
        assert named <= set(METRICS)
        assert len(parsed(text)) == len(named)
        built.hub.metrics.enabled = False
        assert await built.hub.metrics.text() == ""
