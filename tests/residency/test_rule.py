"""What to load next: each step of the rule by hand, and what holds whatever the state."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ostler.residency import rule
from ostler.residency.rule import LIVE, OPEN, Considered, Load, Params, Recheck, next_move
from ostler.residency.state import DRAINING, LOADING, READY, Footprint, HostState, Resident, Soon, State, Swap, Want
from tests.residency.boxes import CATALOG, NOW, ask, box, overdue, waiting


def test_nothing_waits_nothing_moves() -> None:
    """1. A rule without work to do does nothing."""
    assert ask(State([box()], [Want(("small",), later=4)])) == (None, {})


def test_waiting_work_loads_its_model_where_it_fits() -> None:
    """The plainest case: room, no other resident, load."""
    move, _ = ask(State([box()], [waiting("large", work_ms=10_000, urgency=3_000)]))

    assert isinstance(move, Load)
    assert (move.host, move.model, move.evict, move.available_ms) == ("box", "large", (), 200)
    assert dict(move.terms) == {"urgency_ms": 3_000.0, "work_ms": 5_000.0, "available_ms": -200.0}
    assert move.score == 3_000 + 5_000 - 200


def test_each_way_a_pair_can_be_no_place() -> None:
    """2. Not allowed, there already, busy with a swap, closed after a failed one, excluded: each says which."""
    swapping, closed, loading = box(name="b-swapping"), box(name="c-closed"), box(name="d-loading")
    swapping.swap = Swap(("other",), (), NOW + 90)
    closed.closed_until_ms = NOW + 30_000
    loading.add(Resident("large", CATALOG["large"], phase=LOADING, ready_ms=NOW + 5_000_000))
    hosts = [box("large", name="a-served"), swapping, closed, loading, box(name="e-excluded"), box(name="f-foreign")]
    names = frozenset(host.name for host in hosts) - {"f-foreign"}
    want = Want(("large",), waiting=9, work_ms=9_000_000, urgency=1, later=0)
    want.hosts = names

    move, verdicts = ask(State(hosts, [want], excluded=[("e-excluded", "large")]))

    assert verdicts == {
        "large@a-served": rule.SERVED,
        "large@b-swapping": rule.HOST_BUSY,
        "large@c-closed": rule.HOST_CLOSED,
        "large@d-loading": rule.SERVED,
        "large@e-excluded": rule.EXCLUDED,
        "large@f-foreign": rule.NOT_ALLOWED,
    }
    assert move == Recheck(NOW + 30_000), "a closed host opens by itself: ask again then"


def test_a_model_that_never_fits_is_refused() -> None:
    """4. There is no set of residents whose leaving makes room for it."""
    move, verdicts = ask(State([box("small")], [waiting("huge")]))

    assert (move, verdicts) == (None, {"huge@box": rule.NO_ROOM})


def test_a_model_on_hold_stays_until_the_hold_ends() -> None:
    """4. An agent between two calls looks idle; its model is kept, and the rule says when to look again."""
    host = box("large")
    host.residents["large"].hold_until_ms = NOW + 2_000

    assert ask(State([host], [waiting("other")])) == (Recheck(NOW + 2_000), {"other@box": rule.NO_ROOM})


def test_patience_ends_a_hold() -> None:
    """4. A hold is bounded by the patience of those who wait."""
    host = box("large")
    host.residents["large"].hold_until_ms = NOW + 2_000

    move, _ = ask(State([host], [overdue("other")]))

    assert isinstance(move, Load)
    assert move.overdue
    assert move.evict == ("large",)


def test_a_young_resident_stays_its_minimum_time_even_for_the_impatient() -> None:
    """4. Under overload everything is overdue: minimum residence keeps that from becoming a swap for each task."""
    host = box("large")
    host.residents["large"].since_ms = NOW - 400

    move, _ = ask(State([host], [overdue("other")]), LIVE._replace(min_stay_ms=1_000))

    assert move == Recheck(NOW + 600)


def test_prefetch_begins_when_the_load_is_done_just_in_time() -> None:
    """5. Work that comes in 500 ms needs a load of 200 ms: not now, but in 300 ms; work that comes in 150 ms: now."""
    later = State([box()], [Want(("large",), soon=[Soon(NOW + 500, 70, 40)], later=1)])
    now = State([box()], [Want(("large",), soon=[Soon(NOW + 150, 70, 40), Soon(NOW + 900, 99, 40)], later=2)])

    assert ask(later) == (Recheck(NOW + 300), {"large@box": rule.TOO_EARLY})
    move, _ = ask(now)
    assert isinstance(move, Load)
    assert dict(move.terms)["urgency_ms"] == 70, "only the work that comes in time counts"
    assert ask(now, LIVE._replace(prefetch=False))[0] is None


def test_a_model_with_waiting_work_is_not_evicted() -> None:
    """6. Serve the resident model exhaustively: no queue is interrupted by another, however urgent."""
    state = State([box("large")], [waiting("large", urgency=1), waiting("other", urgency=10**9)])

    assert ask(state) == (None, {"large@box": rule.SERVED, "other@box": rule.VICTIM_WANTED})


def test_theta_lets_much_more_urgent_work_interrupt() -> None:
    """6. A round trip of the swap is 520 ms: with theta 2 a waiter must be more than 1040 ms more urgent."""
    params = LIVE._replace(theta=2.0)

    below, _ = ask(State([box("large")], [waiting("large", urgency=100), waiting("other", urgency=1_140)]), params)
    above, _ = ask(State([box("large")], [waiting("large", urgency=100), waiting("other", urgency=1_141)]), params)

    assert below is None
    assert isinstance(above, Load)
    assert above.evict == ("large",)


def test_keys_may_be_negative() -> None:
    """6. Only differences of keys count."""
    state = State([box("large")], [waiting("large", urgency=-5_000), waiting("other", urgency=-300)])

    assert isinstance(ask(state, LIVE._replace(theta=2.0))[0], Load)


def test_where_work_comes_unforeseen_a_busy_model_stays_open() -> None:
    """7. It is not drained for a waiter with patience; for one without it is."""
    busy = HostState("box", 24, CATALOG, residents=[Resident("large", CATALOG["large"], busy=1, drained_ms=NOW + 90)])

    move, verdicts = ask(State([busy], [waiting("other")]), OPEN)
    drained, _ = ask(State([busy], [overdue("other")]), OPEN)
    foreseen, _ = ask(State([busy], [waiting("other")]), LIVE)

    assert (move, verdicts["other@box"]) == (None, rule.VICTIM_BUSY)
    assert isinstance(drained, Load)
    assert (drained.evict, drained.available_ms) == (("large",), 90 + 60 + 200)
    assert isinstance(foreseen, Load)


def test_an_overdue_waiter_interrupts_a_younger_queue_only() -> None:
    """6. Patience is an urgency without limit; between two overdue queues the older goes first."""
    younger = State([box("large")], [waiting("large"), overdue("other", oldest_ms=5)])
    older = State([box("large")], [overdue("large", oldest_ms=4), overdue("other", oldest_ms=5)])

    assert isinstance(ask(younger)[0], Load)
    assert ask(older) == (None, {"large@box": rule.SERVED, "other@box": rule.VICTIM_WANTED})


def test_overdue_work_is_loaded_before_any_score_oldest_first() -> None:
    """Of all wants the one whose waiter is overdue longest comes first, whatever the others are worth."""
    wants = [waiting("small", urgency=10**9), overdue("large", oldest_ms=7), overdue("other", oldest_ms=6)]

    move, _ = ask(State([box()], wants))

    assert isinstance(move, Load)
    assert move.model == "other"


def test_wait_and_see_for_work_that_comes_at_once() -> None:
    """7. The resident gets work as urgent, but for a swap (260 ms), within its unload (60 ms) and one swap: it stays.

    Less urgent or later work does not save it.
    """
    soon, late = [Soon(NOW + 320, 50, 10)], [Soon(NOW + 321, 50, 10)]

    def state(coming: list[Soon], urgency: int) -> State:
        return State([box("large")], [Want(("large",), soon=coming, later=1), waiting("other", urgency=urgency)])

    assert ask(state(soon, 310))[1]["other@box"] == rule.VICTIM_SOON
    assert isinstance(ask(state(soon, 311))[0], Load)
    assert isinstance(ask(state(late, 310))[0], Load)
    assert isinstance(ask(state(soon, 310), LIVE._replace(look=0.0))[0], Load)


def test_the_best_score_wins_and_ties_go_by_order() -> None:
    """8. More work wins; between equal hosts the first."""
    wants = [waiting("large", work_ms=100), waiting("other", work_ms=900)]

    move, _ = ask(State([box(name="a"), box(name="b")], wants))

    assert isinstance(move, Load)
    assert (move.model, move.host) == ("other", "a")


def test_work_that_needs_two_models_gets_both_on_one_host() -> None:
    """A set is loaded together, and no member evicts another."""
    want = Want(("small", "large"), waiting=1, work_ms=100, urgency=100, later=0)

    move, _ = ask(State([box("small", "other", memory=25)], [want]))

    assert isinstance(move, Load)
    assert (move.models, move.evict, move.available_ms) == (("large",), ("other",), 60 + 200)


def test_work_with_memory_of_its_own_needs_room_beside_its_model() -> None:
    """The set to evict frees the model's memory and that of one task."""
    alone = Want(("large",), waiting=1, work_ms=100, urgency=100, later=0)
    with_cache = Want(("large",), waiting=1, work_ms=100, urgency=100, later=0)
    with_cache.memory_bytes = 2

    first, _ = ask(State([box("small", memory=25)], [alone]))
    second, _ = ask(State([box("small", memory=25)], [with_cache]))

    assert isinstance(first, Load)
    assert isinstance(second, Load)
    assert (first.evict, second.evict) == ((), ("small",))


def test_a_host_without_a_memory_limit_evicts_nobody() -> None:
    """A cloud has room for all."""
    move, _ = ask(State([box("large", "other", memory=None)], [waiting("huge")]))

    assert isinstance(move, Load)
    assert move.evict == ()


def test_a_limit_of_residents_evicts_too() -> None:
    """Memory is not all: one engine may keep only so many models."""
    move, _ = ask(State([box("small", memory=99, max_resident=1)], [waiting("large")]))

    assert isinstance(move, Load)
    assert move.evict == ("small",)


def test_every_verdict_can_be_said() -> None:
    """People read why: the sentence names the models, the host, and who would have to go."""
    considered: list[Considered] = []
    next_move(State([box("large")], [waiting("large"), waiting("other")]), LIVE, NOW, considered)

    assert [one.said() for one in considered] == [
        "large on box: is there already",
        "other on box: work still waits for a model that would have to go (large)",
    ]


NAMES = ("m0", "m1", "m2", "m3")


@st.composite
def states(draw: st.DrawFn) -> State:
    """Up to three hosts with residents in any phase, and a want for each model."""
    models = {
        name: Footprint(
            draw(st.integers(1, 20)), draw(st.integers(0, 300)), draw(st.integers(0, 90)), draw(st.integers(1, 4))
        )
        for name in NAMES
    }
    hosts = []
    for index in range(draw(st.integers(1, 3))):
        host = HostState(f"h{index}", draw(st.integers(20, 40)), models)
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
            if host.used_bytes + models[name].memory_bytes <= (host.memory_bytes or 0):
                phase = draw(st.sampled_from((LOADING, READY, READY, DRAINING)))
                resident = Resident(name, models[name], phase=phase, busy=draw(st.integers(0, 2)))
                resident.ready_ms = NOW + draw(st.integers(0, 99)) if phase == LOADING else 0
                resident.drained_ms = NOW + draw(st.integers(-50, 500))
                resident.hold_until_ms = NOW + draw(st.integers(-50, 50))
                resident.pinned = draw(st.booleans())
                host.add(resident)
        if draw(st.integers(0, 4)) == 0:
            host.swap = Swap((draw(st.sampled_from(NAMES)),), (), NOW + 100)
        hosts.append(host)
    wants = [
        Want(
            (name,),
            waiting=(count := draw(st.integers(0, 3))),
            work_ms=count * draw(st.integers(1, 900)),
            urgency=draw(st.integers(-500, 900)),
            overdue=draw(st.booleans()),
            oldest_ms=NOW - draw(st.integers(0, 999)),
            soon=[Soon(NOW + draw(st.integers(1, 500)), draw(st.integers(-500, 900)), 50)] * draw(st.integers(0, 1)),
            later=draw(st.integers(-1, 4)),
        )
        for name in NAMES
    ]
    return State(hosts, wants)


params = st.builds(
    Params,
    urgency_weight=st.sampled_from((0.0, 1.0, 2.0)),
    work_weight=st.sampled_from((0.0, 1.0)),
    theta=st.sampled_from((math.inf, 1.0)),
    look=st.sampled_from((0.0, 1.0, 4.0)),
    gamma=st.sampled_from((1.0, 3.0)),
    prefetch=st.booleans(),
    replica_share=st.sampled_from((0.5, 1.0)),
    min_stay_ms=st.sampled_from((0, 10**9)),
    drain=st.booleans(),
)


@given(states(), params)
def test_whatever_the_state_a_load_is_safe(state: State, chosen: Params) -> None:
    """No load evicts what may not go, overfills a memory, or touches a host that is busy with another swap."""
    move, _ = ask(state, chosen)

    if isinstance(move, Recheck):
        assert move.at_ms > NOW, "an instant to ask again lies ahead"
    if not isinstance(move, Load):
        return
    host = next(one for one in state.hosts if one.name == move.host)
    assert host.swap is None, "one swap at a time on a host"
    assert move.model not in host.residents, "what is there is not loaded again"
    for model in move.evict:
        gone = host.residents[model]
        assert not gone.pinned, "a pinned model is never evicted"
        assert gone.phase == READY, "what loads or leaves is not evicted"
        assert move.overdue or gone.hold_until_ms <= NOW, "a held model stays while nobody is overdue"
        assert gone.since_ms + chosen.min_stay_ms <= NOW, "a young model stays"
        assert not gone.busy or move.available_ms >= gone.drained_ms - NOW, "a busy model is drained first"
        served = any(one.keeps(move.model) for one in state.hosts)
        assert not gone.busy or chosen.drain or move.overdue or served, "without `drain` a busy model stays open"
    freed = sum(host.residents[model].footprint.memory_bytes for model in move.evict)
    used = host.used_bytes - freed + host.models[move.model].memory_bytes
    assert host.memory_bytes is not None
    assert used <= host.memory_bytes, "what comes fits into what is freed"


@given(states())
def test_patience_always_gets_a_load_if_memory_allows(state: State) -> None:
    """With one overdue want alone and nobody young, held, pinned or older, its model is loaded or already kept."""
    for host in state.hosts:
        host.swap = None
        for resident in host.residents.values():
            resident.phase, resident.pinned, resident.busy = READY, False, 0
    for want in state.wants[1:]:
        want.overdue = False
    state.wants[0].overdue, state.wants[0].waiting = True, 1

    move, _ = ask(state)

    kept = any(host.keeps("m0") for host in state.hosts)
    fits = any(host.models["m0"].memory_bytes <= (host.memory_bytes or 0) for host in state.hosts)
    assert kept or not fits or isinstance(move, Load), "an overdue waiter is served by the next move"
    if isinstance(move, Load) and not kept:
        assert move.model == "m0", "and nothing goes before it"
