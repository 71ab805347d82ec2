"""More hosts for one model: when one is added, where, and whose place it may take."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ostler.residency import rule
from ostler.residency.rule import LIVE, OPEN, Load, Params, Recheck
from ostler.residency.state import DRAINING, LOADING, Footprint, HostState, Resident, State, Swap
from tests.residency.boxes import CATALOG, NOW, ask, box, queue, waiting


def test_a_replica_is_added_only_if_the_queue_outlasts_its_load() -> None:
    """3. Two slots clear 300 ms of work in 150 ms, sooner than a load of 200 ms; 1,100 ms they do not."""
    short, verdicts = ask(State([box("large", name="a"), box(name="b")], [waiting("large", work_ms=300)]))
    long, _ = ask(State([box("large", name="a"), box(name="b")], [waiting("large", work_ms=1_100)]))

    assert (short, verdicts["large@b"]) == (None, rule.REPLICAS_SUFFICE)
    assert isinstance(long, Load)
    assert long.host == "b"
    assert dict(long.terms)["work_ms"] == 0.5 * 1_100 / 4, "half, and over the slots of both replicas"


def test_hosts_are_shared_out_among_models_by_their_work() -> None:
    """8. Six empty hosts, twice as much work for one model as for the other: four hosts and two, not five and one."""
    hosts = [box(name=f"h{number}") for number in range(6)]
    state = State(hosts, [waiting("large", work_ms=80_000, urgency=0), waiting("other", work_ms=40_000, urgency=0)])

    for _ in hosts:
        move, _ = ask(state)
        assert isinstance(move, Load)
        next(host for host in hosts if host.name == move.host).swap = Swap((move.model,), (), NOW + 200)

    models = [host.swap.models[0] for host in hosts if host.swap is not None]
    assert (models.count("large"), models.count("other")) == (4, 2)


def test_a_replica_comes_beside_what_is_loading_rather_than_alone() -> None:
    """3. `a` has `small`, `b` is loading `middle` and will have room for `small` too: `c` stays free for others."""
    models = CATALOG | {"middle": Footprint(9, 90, 20, 4)}
    loading = Resident("middle", models["middle"], phase=LOADING, ready_ms=NOW + 90)
    loads = HostState("b", 24, models, residents=[loading])
    loads.swap = Swap(("middle",), (), NOW + 90)
    free = HostState("c", 24, models)
    small, large = waiting("small", work_ms=8_000, urgency=0), waiting("large", work_ms=2_000, urgency=0)

    beside, _ = ask(State([HostState("a", 24, models, residents=[Resident("small", models["small"])]), free], [small]))
    move, _ = ask(
        State([HostState("a", 24, models, residents=[Resident("small", models["small"])]), loads, free], [small, large])
    )

    assert isinstance(beside, Load)
    assert dict(beside.terms)["work_ms"] == 0.5 * 8_000 / 8, "without `b`: two replicas"
    assert isinstance(move, Load)
    assert (move.host, move.model) == ("c", "large"), "0.5 x 8,000 / 12 is less than 2,000 / 2"
    loads.swap = Swap(("large",), ("middle",), NOW + 400)
    loading.phase = DRAINING
    again, _ = ask(State([box("small", name="a"), loads], [waiting("small", work_ms=90_000, urgency=0)]))
    assert again is None, "it swaps, and what it loads leaves no room: that is no replica and no place"


def test_gamma_asks_for_a_longer_queue() -> None:
    """3. With gamma 3 the queue must outlast the load three times."""
    state = State([box("large", name="a"), box(name="b")], [waiting("large", work_ms=1_100)])

    assert ask(state, LIVE._replace(gamma=3.0))[0] is None


def test_a_resident_goes_if_its_other_replicas_have_the_shorter_queue() -> None:
    """6. Two hosts with one model, a long queue for another: one of the two changes over if both queues gain by it.

    The swap takes 260 ms; the queue of the model that stays on one host takes half its work.
    """
    hosts = [box("large", name="a"), box("large", name="b")]

    kept, _ = ask(State(hosts, [waiting("large", work_ms=300), waiting("other", work_ms=800)]))
    gone, _ = ask(State(hosts, [waiting("large", work_ms=270), waiting("other", work_ms=800)]))

    assert kept is None
    assert isinstance(gone, Load)
    assert (gone.host, gone.model) == ("a", "other")


def test_a_second_replica_takes_a_place_from_a_model_with_a_queue_of_its_own() -> None:
    """6. `large` has one host of three and ten times the work of `other`: a host of `other` changes over, once.

    Afterwards `other` has one host left, and the next change would leave it with none.
    """
    hosts = [box("large", name="a"), box("other", name="b"), box("other", name="c")]
    wants = [queue("large", 100, 1_000_000), queue("other", 10, 100_000)]

    move, _ = ask(State(hosts, wants))
    after, verdicts = ask(State([hosts[0], box("large", name="b"), hosts[2]], wants))

    assert isinstance(move, Load)
    assert (move.host, move.model, move.evict) == ("b", "large", ("other",))
    assert (after, verdicts["large@c"]) == (None, rule.VICTIM_WANTED)


def test_a_short_queue_takes_no_place_from_another() -> None:
    """6. Four slots there would be; of calls of 20 s each, ten are two and a half rounds of them, eleven are more."""
    hosts = [box("large", name="a"), box("other", name="b"), box("other", name="c")]

    def asked(count: int, params: Params) -> Load | Recheck | None:
        return ask(State(hosts, [queue("large", count, count * 20_000), queue("other", 1, 2_000)]), params)[0]

    for params in (LIVE, OPEN):
        assert asked(10, params) is None
        assert isinstance(asked(11, params), Load)
        assert asked(11, params._replace(gamma=4.0)) is None


def test_a_replica_that_the_other_queue_may_not_use_is_none() -> None:
    """6. `other` may run on `b` alone: its model on `c` takes none of its work, so `b` is not spared."""
    hosts = [box("large", name="a"), box("other", name="b"), box("other", name="c")]
    large, bound = queue("large", 100, 1_000_000), queue("other", 10, 100_000)
    bound.hosts = frozenset({"b"})

    move, verdicts = ask(State(hosts, [large, bound]))

    assert verdicts["large@b"] == rule.VICTIM_WANTED
    assert isinstance(move, Load)
    assert move.host == "c", "where nobody waits for what has to go"


def test_one_more_replica_drains_what_nobody_waits_for() -> None:
    """7. A queue that outlasts the change has waited for long enough."""
    busy = Resident("other", CATALOG["other"], busy=1, drained_ms=NOW + 90)
    hosts = [box("large", name="a"), HostState("b", 24, CATALOG, residents=[busy])]

    move, _ = ask(State(hosts, [waiting("large", work_ms=90_000)]), OPEN)

    assert isinstance(move, Load)
    assert (move.host, move.evict) == ("b", ("other",))


@given(st.lists(st.tuples(st.sampled_from(("large", "other")), st.integers(0, 1)), min_size=2, max_size=6), st.data())
def test_no_host_changes_over_unless_both_queues_gain_and_changes_come_to_an_end(
    places: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Two models that exclude each other, long queues of any length: each change shortens what is cleared last, and
    no model loses its last host. So hosts do not change to and fro while the queues stay as they are.
    """
    hosts = [box(model, name=f"h{number}") for number, (model, _) in enumerate(places)]
    for host, (model, busy) in zip(hosts, places, strict=True):
        host.residents[model].busy, host.residents[model].drained_ms = busy, NOW + 300
    sizes = {model: data.draw(st.integers(1, 400), label=model) for model in ("large", "other")}
    wants = [queue(model, count, count * 5_000) for model, count in sizes.items()]

    def cleared_ms() -> float:
        slots = {model: 2 * sum(host.keeps(model) for host in hosts) for model in sizes}
        return max(sizes[model] * 5_000 / slots[model] if slots[model] else math.inf for model in sizes)

    for _ in range(len(hosts) + 1):
        move, _ = ask(State(hosts, wants))
        if not isinstance(move, Load):
            break
        before_ms = cleared_ms()
        place = next(number for number, host in enumerate(hosts) if host.name == move.host)
        gone = hosts[place].residents
        hosts[place] = box(move.model, name=move.host)
        assert move.evict == tuple(gone), "the two exclude each other"
        assert cleared_ms() < before_ms, "what is cleared last is cleared sooner"
    else:
        raise AssertionError("as many changes as hosts are enough")
