"""One host's timeline: what must leave, when loads and tasks start, and what an offer may never do."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.floor import Floor, Offer
from ostler.planning.instance import Choice, PlanHost, Serving, can_host, task_ms
from tests.planning.varied import choices, hosts


def box(memory: int = 10, limit: int | None = None, resident: tuple[str, ...] = (), pinned: str = "") -> PlanHost:
    """Models a, b and c of 6, 4 and 3 bytes; loads take 20 ms, unloads 10."""
    models = {
        name: Serving(memory_bytes=size, load_ms=20, unload_ms=10, slots=2, pinned=name == pinned)
        for name, size in (("a", 6), ("b", 4), ("c", 3))
    }
    return PlanHost(name="box", memory_bytes=memory, models=models, resident=resident, max_resident=limit)


def task(*models: str, memory: int = 0, lasts: int = 100) -> Choice:
    return Choice(models=models, duration_ms=lasts, memory_bytes=memory)


def run(floor: Floor, choice: Choice, ready_ms: int = 0, swap_from_ms: int = 0) -> Offer:
    offer = floor.offer(choice, choice.duration_ms, ready_ms, swap_from_ms)
    assert offer is not None
    floor.take(choice, offer)
    return offer


def test_a_model_is_loaded_before_its_first_task_and_ready_ahead_of_time() -> None:
    """The load starts at once, not when the task gets ready; with a barrier it waits."""
    assert run(Floor(box()), task("a"), ready_ms=50)[:2] == (50, 150)
    assert run(Floor(box()), task("a"), ready_ms=50, swap_from_ms=40)[:2] == (60, 160)


def test_models_that_fit_together_stay_together() -> None:
    """Six and four bytes fill ten: the second is loaded right after the first, one load at a time, nobody leaves."""
    floor = Floor(box())
    run(floor, task("a"))

    offer = run(floor, task("b"))

    assert (offer.start_ms, offer.leave) == (40, ())


def test_what_is_drained_first_leaves_first_and_no_more_than_needed() -> None:
    """For the third model one of two must go: the one whose last task ends first, after that task, unloaded in full."""
    floor = Floor(box())
    run(floor, task("b", lasts=30))
    run(floor, task("a", lasts=300))

    offer = run(floor, task("c"))

    assert [(stay.model, at_ms) for stay, at_ms in offer.leave] == [("b", 50)]
    assert offer.load == (("c", 60),)
    assert [row.model for row in floor.episodes()] == ["b", "a", "c"]


def test_a_small_model_that_left_in_vain_is_kept() -> None:
    """Drained first but too small to help: once the large one leaves, it may stay."""
    floor = Floor(box(memory=9))
    run(floor, task("c", lasts=10))
    run(floor, task("a", lasts=50))

    assert [stay.model for stay, _ in run(floor, task("b")).leave] == ["a"]


def test_a_pinned_model_never_leaves() -> None:
    """What does not fit beside it cannot run here at all."""
    floor = Floor(box(resident=("a",), pinned="a"))

    assert floor.offer(task("b", "c"), 100, 0) is None
    assert run(floor, task("b")).leave == ()


def test_the_limit_of_residents_counts_who_is_still_unloading() -> None:
    """With one resident at most the load waits for the end of the unload, though memory has room."""
    floor = Floor(box(memory=100, limit=1))
    run(floor, task("c"))

    assert run(floor, task("b")).load == (("b", 130),)


def test_slots_fill_up_and_the_next_task_waits() -> None:
    """Two slots: the third of three equal tasks starts when the first ends."""
    floor = Floor(box())

    assert [run(floor, task("a")).start_ms for _ in range(3)] == [20, 20, 120]


def test_a_task_of_two_models_loads_both_and_takes_a_slot_of_each() -> None:
    """Loads one after the other; then a third task of one of them finds one slot taken."""
    floor = Floor(box())

    offer = run(floor, task("a", "b"))

    assert (offer.load, offer.start_ms) == ((("a", 0), ("b", 20)), 40)
    assert [run(floor, task("b", lasts=10)).start_ms for _ in range(2)] == [40, 50]


def test_memory_of_a_task_waits_for_room_or_makes_it() -> None:
    """Two tasks of two bytes each beside six do not run at once in nine; and a resident that is in the way leaves."""
    floor = Floor(box(memory=9))

    assert [run(floor, task("a", memory=2)).start_ms for _ in range(2)] == [20, 120]
    crowded = Floor(box(memory=9))
    run(crowded, task("c", lasts=5))
    offer = run(crowded, task("a", memory=1))
    assert [stay.model for stay, _ in offer.leave] == ["c"]


def test_a_load_keeps_clear_of_memory_that_running_tasks_take() -> None:
    """The task's own three bytes are free again at 120: only then the other model is loaded beside."""
    floor = Floor(box())
    run(floor, task("a", memory=3))

    assert run(floor, task("b")).load == (("b", 120),)


def test_a_model_is_not_loaded_again_before_it_has_left() -> None:
    """Even where memory would allow both at once."""
    floor = Floor(box(memory=9, resident=("c",)))
    run(floor, task("a", memory=3, lasts=5))
    assert [row.unload_end_ms for row in floor.episodes() if row.model == "c"] == [10]

    assert run(floor, task("c")).load[0][1] >= 10


def test_a_cloud_is_ready_at_once_and_has_no_episodes() -> None:
    """No memory, no loads, only slots."""
    sky = PlanHost(name="sky", cloud=True, memory_bytes=1, models={"api": Serving(memory_bytes=9, load_ms=50)})
    floor = Floor(sky)

    assert [run(floor, task("api")).start_ms for _ in range(2)] == [0, 100]
    assert floor.episodes() == []


@given(host=hosts(0), work=st.lists(st.tuples(choices(cloud=False), st.integers(0, 200)), max_size=12))
def test_no_offer_starts_sooner_than_it_was_said_to_be_possible(host: PlanHost, work: list[tuple[Choice, int]]) -> None:
    """The cheap estimate never exceeds the offer, and knows whether something is loaded: else good seats are lost."""
    floor = Floor(host)
    for choice, ready_ms in work:
        if not can_host(choice, host):
            continue
        least_ms, loads = floor.earliest_ms(choice, ready_ms)
        offer = floor.offer(choice, task_ms(choice, host), ready_ms)
        assert offer is not None
        assert least_ms <= offer.start_ms
        assert loads == bool(offer.load)
        assert offer.start_ms >= ready_ms
        floor.take(choice, offer)
