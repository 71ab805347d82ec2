"""What waits and what runs: the numbers that the rule reads are right at every instant."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.residency.rule import LIVE, Load
from ostler.residency.state import DRAINING, LOADING, READY
from tests.planning.instances import instances, one_host, task

CHAIN = Instance(
    hosts=(one_host(large=1),),
    tasks=(task("a", "large", 1_000), task("b", "large", 500), task("c", "small", 70, "a"), task("d", "small", 7, "c")),
)


def test_a_want_counts_what_waits() -> None:
    """Number, work and the highest key, before anything has started."""
    run = Run(Compiled(CHAIN))
    (large, small) = run.wants

    assert (large.waiting, large.work_ms, large.urgency, large.later) == (2, 1_500, 1_187, 0)
    assert (small.waiting, small.work_ms, small.later, list(small.soon)) == (0, 0, 2, [])


def test_a_start_takes_its_task_out_of_the_want_and_announces_what_follows() -> None:
    """`a` runs until 1200: then `c` will wait, whose longest path is 77."""
    run = Run(Compiled(CHAIN)).go(until_ms=200)
    (large, small) = run.wants

    assert (large.waiting, large.work_ms, large.urgency) == (1, 500, 500)
    assert [tuple(soon) for soon in small.soon] == [(1_200, 77, 70)]
    assert small.later == 2


def test_work_that_is_ready_is_no_longer_soon() -> None:
    """And no longer counted as later."""
    run = Run(Compiled(CHAIN), LIVE._replace(prefetch=False)).go(until_ms=1_200)
    small = run.wants[1]

    assert (small.waiting, list(small.soon), small.later) == (1, [], 1)


def test_soon_is_when_the_last_need_ends() -> None:
    """Two needs that run side by side."""
    tasks = (task("a", "small", 100), task("b", "small", 900), task("c", "large", 5, "a", "b"))

    run = Run(Compiled(Instance(hosts=(one_host(resident=("small",)),), tasks=tasks))).go(until_ms=0)

    assert [soon.at_ms for soon in run.wants[1].soon] == [900]


def test_soon_is_never_before_a_release() -> None:
    """A task that is released late is not prefetched for early."""
    late = PlanTask(id="b", choices=task("x", "large").choices, needs=("a",), release_ms=5_000)

    run = Run(Compiled(Instance(hosts=(one_host(resident=("small",)),), tasks=(task("a", "small", 10), late))))
    run.go(until_ms=0)

    assert [soon.at_ms for soon in run.wants[1].soon] == [5_000]


def test_a_task_with_two_choices_waits_twice_and_leaves_both_queues() -> None:
    """What is taken in one queue is gone from the other."""
    both = PlanTask(
        id="a", choices=(Choice(models=("small",), duration_ms=10), Choice(models=("large",), duration_ms=20))
    )
    run = Run(Compiled(Instance(hosts=(one_host(resident=("small",)),), tasks=(both, task("b", "large", 40)))))

    assert [(want.waiting, want.work_ms) for want in run.wants] == [(1, 10), (2, 60)]
    run.go(until_ms=0)
    assert [(want.waiting, want.work_ms) for want in run.wants] == [(0, 0), (1, 40)]
    assert run.wants[1].urgency == 40


def test_a_draining_model_takes_what_ends_before_it_would_be_gone() -> None:
    """Back-fill: `short` fits beside the long task, `long2` does not."""
    tasks = (task("long", "large", 1_000), task("other", "other", 10))
    late = (
        PlanTask(id="short", choices=task("x", "large", 300).choices, release_ms=500),
        PlanTask(id="long2", choices=task("x", "large", 900).choices, release_ms=500),
    )
    host = one_host(resident=("large",), large=2)
    compiled = Compiled(Instance(hosts=(host,), tasks=(*tasks, *late)))

    filled, bare = Run(compiled).go(), Run(compiled, LIVE._replace(backfill=False)).go()

    assert filled.starts[2] == 500, "ends at 800, and the long one at 1000"
    assert filled.starts[3] > 1_000
    assert bare.starts[2] > 1_000
    assert filled.starts[1] == bare.starts[1], "the swap is not a moment later for it"


def test_a_swap_is_open_from_its_decision_to_its_last_load() -> None:
    """Draining, unloading and loading, one after the other."""
    tasks = (task("a", "large", 100), task("b", "other", 10))
    run = Run(Compiled(Instance(hosts=(one_host(resident=("large",)),), tasks=tasks))).go(until_ms=0)
    (host,) = run.hosts

    assert host.swap is not None
    assert (host.swap.models, host.swap.evict, host.swap.ready_ms) == (("other",), ("large",), 100 + 60 + 200)
    assert host.residents["large"].phase == DRAINING
    run.go(until_ms=160)
    assert {model: one.phase for model, one in host.residents.items()} == {"other": LOADING}
    run.go(until_ms=360)
    assert host.residents["other"].phase == READY
    assert host.swap is None


def test_a_committed_load_is_carried_out_whatever_the_rule_says() -> None:
    """Whoever looks ahead may load what the rule would not."""
    run = Run(Compiled(Instance(hosts=(one_host(),), tasks=(task("a", "large", 100),))))

    run.commit(Load("box", ("small",), (), 50, 0.0, ()))
    run.go()

    assert {row.model for row in run.plan("x").episodes} == {"small", "large"}


def test_several_models_of_one_task_are_loaded_one_after_the_other() -> None:
    """One load at a time on a host, and the task starts with the last."""
    both = PlanTask(id="a", choices=(Choice(models=("small", "large"), duration_ms=10),))

    run = Run(Compiled(Instance(hosts=(one_host(memory=25),), tasks=(both,)))).go()

    assert [(row.model, row.load_start_ms) for row in run.plan("x").episodes] == [("small", 0), ("large", 50)]
    assert run.starts == [250]


def test_the_faster_host_is_served_first() -> None:
    """Where both are ready, the task goes where it takes less time."""
    slow, fast = (
        PlanHost(
            name=name,
            memory_bytes=9,
            models={"m": Serving(memory_bytes=5, pace_permille=pace)},
            resident=("m",),
        )
        for name, pace in (("a-slow", 1_900), ("b-fast", 1_000))
    )

    plan = Run(Compiled(Instance(hosts=(slow, fast), tasks=(task("t", "m", 100),)))).go().plan("x")

    assert plan.placements[0].host == "b-fast"


@given(instances(), st.integers(0, 300))
def test_the_wants_are_right_at_every_instant(instance: Instance, until_ms: int) -> None:
    """Counted anew from the tasks themselves: what waits, its work, its highest key, what is still to come."""
    compiled = Compiled(instance)
    run = Run(compiled).go(until_ms)

    for kind, want in enumerate(run.wants):
        options = [
            (number, option) for number, row in enumerate(compiled.options) for option in row if option.kind == kind
        ]
        waiting = [(number, one) for number, one in options if run.starts[number] < 0 and not run.missing[number]]
        assert want.waiting == len(waiting), "waiting"
        assert want.work_ms == sum(one.duration_ms for _, one in waiting), "its work"
        assert want.later == sum(run.missing[number] > 0 for number, _ in options), "still to come"
        assert len(want.soon) <= want.later, "what comes soon is part of what comes"
        if waiting:
            assert want.urgency == max(run.keys[number] for number, _ in waiting), "its highest key"


@given(instances(), st.integers(0, 300))
def test_memory_and_slots_are_counted_right_at_every_instant(instance: Instance, until_ms: int) -> None:
    """Residents from load start to unload end, and tasks that take memory themselves."""
    compiled = Compiled(instance)
    run = Run(compiled).go(until_ms)

    running = [(number, ran) for number, ran in enumerate(run.ran) if ran is not None and run.ends[number] > run.now_ms]
    for place, host in enumerate(run.hosts):
        mine = [compiled.classes[option.kind] for _, (where, option) in running if where == place]
        models = sum(one.footprint.memory_bytes for one in host.residents.values())
        assert host.used_bytes == models + sum(kind.memory_bytes for kind in mine), "memory"
        assert host.memory_bytes is None or host.used_bytes <= host.memory_bytes, "and never too much of it"
        for model, resident in host.residents.items():
            assert resident.busy == sum(model in kind.models for kind in mine), "slots"
            assert resident.busy <= resident.footprint.slots, "and never too many"
