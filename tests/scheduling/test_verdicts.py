"""Verdicts that are kept: what comes back is what deciding anew would say, and only while that is so."""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.decision import Hold, Route, Verdict
from ostler.domain.fleet import FleetSnapshot, ProbeStatus
from ostler.domain.live import LiveCall
from ostler.domain.policy import ContextRule, GatewayPolicy, Policy
from ostler.domain.tasks import TaskKind
from ostler.routing.classes import call_shape
from ostler.routing.decide import decide
from ostler.scheduling.calls import Question
from ostler.scheduling.verdicts import MAX_KEPT, VALID_MS, Counts, Verdicts, request_of
from tests.routing.fleets import NOW
from tests.routing.strategies import make_policy, make_request, make_snapshot
from tests.scheduling.live_rig import LiveRig, call_facts
from tests.scheduling.rig import cloud, local, three_tiers


def bare(verdict: Verdict) -> Verdict:
    """A verdict without what belongs to one call: whose it is, and since when that one waits."""
    decision = replace(verdict.decision, task_id="")
    if isinstance(verdict, Route):
        return Route(decision=decision)
    return replace(verdict, decision=decision, wait=replace(verdict.wait, since_ms=0))


def asks(call: LiveCall) -> Question:
    return (call_shape(call.facts), call.excluded, call.limits)


def make_call(rng: random.Random, number: int) -> LiveCall:
    """A call with any mixture of demands."""
    asked = make_request(rng)
    facts = replace(asked.facts, id="call", kind=TaskKind.CHAT, has_command=False)
    offered_ms = NOW - rng.choice([0, 500, 60_000])
    return LiveCall(
        id=f"c{number}", facts=facts, offered_ms=offered_ms, deadline_ms=NOW + 60_000, excluded=asked.excluded
    )


def make_world(rng: random.Random) -> tuple[Policy, FleetSnapshot, list[LiveCall]]:
    """Rules, a fleet, and a few calls of which some ask the same."""
    wait_ms = rng.choice([0, 0, 1_000])
    policy = replace(
        make_policy(rng), gateway=GatewayPolicy(fallback_wait_ms=wait_ms, context_rule=rng.choice(list(ContextRule)))
    )
    calls = [make_call(rng, number) for number in range(3)]
    calls += [replace(call, id=f"{call.id}b", offered_ms=NOW - 7_000) for call in calls]
    return policy, make_snapshot(rng, rng.choice([1, 2, 3, 4])), calls


def busy(rng: random.Random, fleet: FleetSnapshot) -> FleetSnapshot:
    """The same fleet with other calls in flight."""
    return replace(
        fleet,
        in_flight={name: rng.randrange(3) for name in fleet.endpoints},
        in_flight_by_model={place: rng.randrange(2) for place in fleet.in_flight_by_model},
    )


@settings(max_examples=500, deadline=None)
@example(268)
@example(671)
@given(st.integers(0, 2**48))
def test_what_is_kept_is_what_deciding_anew_would_say(seed: int) -> None:
    """For any rules, fleet, calls and loads: same kind, place, record and watched endpoints. The two examples are waits
    for a slot after a fallback, which say how long one call had waited for its tier.
    """
    rng = random.Random(seed)
    policy, fleet, calls = make_world(rng)
    verdicts = Verdicts()
    for _ in range(12):
        call, seen = rng.choice(calls), busy(rng, fleet)
        counts = Counts(seen.in_flight, seen.in_flight_by_model)
        kept = verdicts.known(asks(call), 1, policy, counts, NOW)
        made = kept or verdicts.decide(call, asks(call), replace(seen, taken_ms=NOW), policy, epoch=1, managed=False)
        anew = decide(request_of(call, policy, NOW), seen, policy)

        assert bare(made) == bare(anew), "a kept verdict is not what would be decided"


def test_verdicts_are_often_kept() -> None:
    """Else the property above would be about nothing."""
    rng = random.Random(3)
    found = 0
    for _ in range(100):
        policy, fleet, calls = make_world(rng)
        verdicts = Verdicts()
        for call in (*calls, *calls):
            counts = Counts(fleet.in_flight, fleet.in_flight_by_model)
            found += verdicts.known(asks(call), 1, policy, counts, NOW) is not None
            verdicts.decide(call, asks(call), replace(fleet, taken_ms=NOW), policy, epoch=1, managed=False)

    assert found > 200


def plain(number: int = 0, **changes: object) -> LiveCall:
    return LiveCall(id=f"c{number}", facts=call_facts(**changes), offered_ms=0, deadline_ms=1)  # type: ignore[arg-type]


def test_a_verdict_is_forgotten_with_time_and_with_any_change() -> None:
    """After a second, in another state of the fleet, under other rules, with other calls in flight."""
    rig = LiveRig()
    rig.up(local("gpu1", slots=2))
    books = rig.scheduler.books
    call, policy = plain(), rig.policy
    fleet = books.snapshot(rig.now_ms)
    books.verdicts.decide(call, asks(call), fleet, policy, epoch=1, managed=False)
    none, one = Counts({}, {}), Counts({"gpu1": 1}, {})
    elsewhere = Counts({"other": 1}, {})

    def is_known(epoch: int, rules: Policy, counts: Counts, later_ms: int) -> bool:
        return books.verdicts.known(asks(call), epoch, rules, counts, rig.now_ms + later_ms) is not None

    assert is_known(1, policy, none, VALID_MS - 1)
    assert is_known(1, policy, elsewhere, 0), "a place that the question does not look at is none of its business"
    assert not is_known(1, policy, none, VALID_MS)
    assert not is_known(2, policy, none, 0)
    assert not is_known(1, three_tiers(), none, 0)
    assert not is_known(1, policy, one, 0)


def test_equal_calls_share_one_record() -> None:
    """The very same object, under a name that is no call's; another question has another name."""
    rig = LiveRig()
    rig.up(local("gpu1", slots=4))
    rig.call("first")  # loads the model, and so changes the fleet
    records = []
    for name, model in (("a", None), ("b", None), ("c", "qwen"), ("d", "qwen")):
        rig.end_call(rig.order[-1])
        rig.call(name, model=model)
        records.append(rig.running[name].decision)
    a, b, c, d = records

    assert a is b
    assert c is d
    assert a.task_id != c.task_id
    assert {a.task_id[:5], c.task_id[:5]} == {"call-"}


def test_a_wait_for_a_slot_is_kept_but_no_wait_for_a_recovery() -> None:
    """The first says the same for everybody; the second hangs on when it began."""
    rig = LiveRig()
    rig.up(local("gpu1"))
    rig.call("c1")
    books = rig.scheduler.books
    call = plain()
    counts = Counts(books.in_flight, books.in_flight_by_model)

    def kept() -> Verdict | None:
        fleet, epoch = books.snapshot(rig.now_ms), books.endpoints.epoch
        books.verdicts.decide(call, asks(call), fleet, rig.policy, epoch=epoch, managed=False)
        return books.verdicts.known(asks(call), epoch, rig.policy, counts, rig.now_ms)

    assert isinstance(kept(), Hold)
    rig.down("gpu1")
    assert kept() is None


def test_on_managed_hosts_no_wait_is_kept() -> None:
    """What a swap costs depends on all that waits."""
    rig = LiveRig()
    rig.up(local("gpu1"))
    rig.call("c1")
    books, call = rig.scheduler.books, plain()
    epoch = books.endpoints.epoch
    books.verdicts.decide(call, asks(call), books.snapshot(rig.now_ms), rig.policy, epoch=epoch, managed=True)

    counts = Counts(books.in_flight, books.in_flight_by_model)
    assert books.verdicts.known(asks(call), epoch, rig.policy, counts, rig.now_ms) is None


def test_not_more_are_kept_than_there_is_room_for() -> None:
    """Then all are forgotten; it goes on as before."""
    rig = LiveRig()
    rig.up(local("gpu1"))
    books = rig.scheduler.books
    fleet = books.snapshot(rig.now_ms)
    none = Counts({}, {})
    calls = [plain(number, prompt_tokens=number) for number in range(MAX_KEPT + 2)]
    for call in calls:
        books.verdicts.decide(call, asks(call), fleet, rig.policy, epoch=1, managed=False)
    known = [books.verdicts.known(asks(call), 1, rig.policy, none, rig.now_ms) is not None for call in calls]

    assert known == [False] * MAX_KEPT + [True, True]


def test_the_state_of_the_fleet_changes_with_any_view_and_only_then() -> None:
    """A listing that says the same at the same instant, and a good call on a healthy place, change nothing."""
    rig = LiveRig()
    rig.up(local("gpu1", slots=2), residents=("qwen",))
    endpoints = rig.scheduler.books.endpoints
    started = endpoints.epoch
    rig.probe("gpu1", ProbeStatus.AVAILABLE, models=("qwen",), residents=("qwen",))
    assert endpoints.epoch == started
    rig.call("c1")  # it is known from then on with which context it is loaded
    before = endpoints.epoch
    rig.end_call("c1")
    rig.call("c2")
    rig.end_call("c2")
    assert endpoints.epoch == before
    rig.up(cloud(), models=("claude",))
    added = endpoints.epoch
    rig.pass_ms(1)
    rig.probe("gpu1", ProbeStatus.AVAILABLE, models=("qwen",), residents=())

    assert before < added < endpoints.epoch
