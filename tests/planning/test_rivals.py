"""What rivals do, instant by instant: a comparison is only worth something if they do what their originals do."""

from hypothesis import given, settings

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.rivals import RIVALS, ROUTERS, rival
from ostler.simulate.instances import random_instance
from tests.planning.instances import instances, one_host, task


def planned(instance: Instance, name: str) -> Plan:
    plan = rival(Compiled(instance), name)
    assert plan is not None
    assert check_plan(instance, plan) == ()
    return plan


def when(plan: Plan) -> dict[str, tuple[str, int]]:
    return {row.task: (row.host, row.start_ms) for row in plan.placements}


def mirrored(count: int, *, memory: int = 30, resident: tuple[tuple[str, ...], ...] = ()) -> tuple[PlanHost, ...]:
    """Hosts alike, with `m` and `n` (5 bytes each, load 10, one slot)."""
    models = {name: Serving(memory_bytes=5, load_ms=10, unload_ms=4, slots=1) for name in ("m", "n")}
    return tuple(
        PlanHost(
            name=f"h{place}",
            memory_bytes=memory,
            models=models,
            resident=resident[place] if place < len(resident) else (),
        )
        for place in range(count)
    )


def test_strict_order_lets_nobody_pass() -> None:
    """Fifo: the second model blocks the third task, although its model is loaded and free."""
    tasks = (task("a", "large"), task("b", "other"), task("c", "large"))

    plan = planned(Instance(hosts=(one_host(),), tasks=tasks), "fifo")

    assert when(plan) == {"a": ("box", 200), "b": ("box", 1_460), "c": ("box", 2_720)}
    assert plan.loads == 3


def test_behind_a_router_a_request_for_a_loaded_model_passes() -> None:
    """Ollama's way round the queue: `c` does not wait for `b`."""
    tasks = (task("a", "large"), task("b", "other"), task("c", "large"))

    plan = planned(Instance(hosts=(one_host(),), tasks=tasks), "least-loaded")

    assert when(plan) == {"a": ("box", 200), "c": ("box", 200), "b": ("box", 1_460)}


def test_a_stream_for_the_loaded_model_delays_the_head_for_as_long_as_it_lasts() -> None:
    """The starvation that our own patience bounds: `b` waits for every later `a`."""
    stream = [
        PlanTask(id=f"a{place}", choices=task("x", "large", 500).choices, release_ms=place * 200) for place in range(9)
    ]
    late = PlanTask(id="b", choices=task("x", "other", 100).choices, release_ms=1)

    plan = planned(Instance(hosts=(one_host(large=2),), tasks=(*stream, late)), "affinity")

    last = max(row.end_ms for row in plan.placements if row.task != "b")
    assert when(plan)["b"] == ("box", last + 60 + 200)


def test_the_least_recently_used_idle_model_leaves() -> None:
    """Three models in a memory for two: the one whose use lies furthest back goes, not the smallest."""
    models = {name: Serving(memory_bytes=5, load_ms=10, unload_ms=4) for name in ("m", "n", "o")}
    host = PlanHost(name="box", memory_bytes=10, models=models)
    tasks = (task("a", "m", 100), task("b", "n", 50), task("c", "o", 30, "a", "b"))

    plan = planned(Instance(hosts=(host,), tasks=tasks), "round-robin")

    gone = [row.model for row in plan.episodes if row.unload_start_ms is not None]
    assert gone == ["n"]


def test_a_busy_or_pinned_model_is_never_the_victim() -> None:
    """The head waits for it instead."""
    models = {
        "p": Serving(memory_bytes=5, pinned=True),
        "m": Serving(memory_bytes=5, load_ms=10, unload_ms=4),
        "n": Serving(memory_bytes=5, load_ms=10, unload_ms=4),
    }
    host = PlanHost(name="box", memory_bytes=10, models=models, resident=("p",))
    tasks = (task("a", "m", 100), task("b", "n", 50))

    plan = planned(Instance(hosts=(host,), tasks=tasks), "least-loaded")

    assert when(plan) == {"a": ("box", 10), "b": ("box", 110 + 4 + 10)}


def test_round_robin_takes_turns_whatever_the_load() -> None:
    """A router that knows nothing."""
    tasks = tuple(task(f"t{place}", "m", 900 if place == 0 else 10) for place in range(4))

    plan = planned(Instance(hosts=mirrored(2), tasks=tasks), "round-robin")

    assert {name: host for name, (host, _) in when(plan).items()} == {"t0": "h0", "t1": "h1", "t2": "h0", "t3": "h1"}


def test_round_robin_leaves_out_hosts_that_cannot() -> None:
    """Turns are taken among those that have the model."""
    able, _ = mirrored(2)
    other = PlanHost(name="h9", memory_bytes=30, models={})
    tasks = tuple(task(f"t{place}", "m", 10) for place in range(3))

    plan = planned(Instance(hosts=(able, other), tasks=tasks), "round-robin")

    assert {host for host, _ in when(plan).values()} == {"h0"}


def test_least_loaded_counts_work_for_slots_and_forgets_what_is_done() -> None:
    """Two slots halve what outstanding work weighs; finished work weighs nothing."""
    narrow, _ = mirrored(2)
    wide = PlanHost(name="h1", memory_bytes=30, models={"m": Serving(memory_bytes=5, load_ms=10, slots=2)})
    later = PlanTask(id="t3", choices=task("x", "m", 10).choices, release_ms=5_000)
    tasks = (task("t0", "m", 100), task("t1", "m", 100), task("t2", "m", 100), later)

    plan = planned(Instance(hosts=(narrow, wide), tasks=tasks), "least-loaded")

    hosts = {name: host for name, (host, _) in when(plan).items()}
    assert hosts == {"t0": "h0", "t1": "h1", "t2": "h1", "t3": "h0"}


def test_affinity_goes_where_the_model_is_even_if_that_host_is_busy() -> None:
    """The trap of warm-first: one host works, the other idles."""
    hosts = mirrored(2, resident=(("m",), ()))
    tasks = tuple(task(f"t{place}", "m", 100) for place in range(3))

    warm = planned(Instance(hosts=hosts, tasks=tasks), "affinity")
    spread = planned(Instance(hosts=hosts, tasks=tasks), "least-loaded")

    assert {host for host, _ in when(warm).values()} == {"h0"}
    assert {host for host, _ in when(spread).values()} == {"h0", "h1"}
    assert warm.makespan_ms > spread.makespan_ms


def test_affinity_without_a_warm_host_takes_the_least_loaded() -> None:
    """And a model that loads there counts as warm for the next."""
    tasks = (task("t0", "m", 100), task("t1", "n", 100), task("t2", "n", 100, "t1"))

    plan = planned(Instance(hosts=mirrored(2), tasks=tasks), "affinity")

    hosts = {name: host for name, (host, _) in when(plan).items()}
    assert hosts["t0"] != hosts["t1"] == hosts["t2"]


def test_fifo_uses_every_host() -> None:
    """One line for all: whoever is idle loads what the head needs."""
    tasks = (task("a", "m", 100), task("b", "n", 100))

    plan = planned(Instance(hosts=mirrored(2, memory=5), tasks=tasks), "fifo")

    assert when(plan) == {"a": ("h0", 10), "b": ("h1", 20)}


def test_drain_serves_a_queue_whole_and_then_the_longest() -> None:
    """Most waiting work next, however urgent the other is."""
    tasks = (
        task("a", "small", 100),
        task("b", "large", 1_000),
        task("c", "other", 600),
        task("d", "other", 600),
        task("e", "small", 5_000, "b"),
    )

    plan = planned(Instance(hosts=(one_host(large=1, other=1),), tasks=tasks), "drain")

    order = [row.model for row in plan.episodes]
    assert order.index("other") < order.index("large")


def test_heft_interrupts_for_the_critical_path_and_pays_for_it() -> None:
    """Blind to swaps: it swaps more often than the live policy."""
    instance = random_instance(1, 60, 1, regime="call")

    heft = planned(instance, "heft")

    assert heft.loads > Run(Compiled(instance)).go().loads


def test_a_cloud_is_always_warm() -> None:
    """Nothing is loaded there, and no load is counted."""
    cloud = PlanHost(name="sky", models={"m": Serving(slots=2)}, cloud=True)

    for name in RIVALS:
        plan = planned(Instance(hosts=(cloud,), tasks=tuple(task(f"t{place}", "m", 10) for place in range(3))), name)
        assert (plan.makespan_ms, plan.loads, plan.episodes) == (20, 0, ()), name


def test_a_limit_of_residents_holds_for_rivals_too() -> None:
    """Memory for both models, but an engine that keeps only one."""
    models = {name: Serving(memory_bytes=1, load_ms=10, unload_ms=4) for name in ("m", "n")}
    host = PlanHost(name="box", memory_bytes=99, models=models, max_resident=1)

    for name in RIVALS:
        plan = planned(Instance(hosts=(host,), tasks=(task("a", "m", 100), task("b", "n", 100))), name)
        assert plan.makespan_ms == 10 + 100 + 4 + 10 + 100, name


def test_work_that_needs_several_models_at_once_is_not_for_routers() -> None:
    """None of the originals can do it; our own rule can, under any setting."""
    both = PlanTask(id="both", choices=(Choice(models=("small", "large"), duration_ms=5),))
    compiled = Compiled(Instance(hosts=(one_host(memory=25),), tasks=(both,)))

    able = [name for name in RIVALS if rival(compiled, name) is not None]

    assert able == ["drain", "heft"]


@settings(max_examples=40)
@given(instances(plain=True))
def test_releases_paces_and_limits_hold_for_every_rival(instance: Instance) -> None:
    """Whatever the problem, what a rival does could be done; and it does it the same way again."""
    compiled = Compiled(instance)

    for name in ROUTERS:
        first, second = rival(compiled, name), rival(compiled, name)
        assert first is not None, f"{name} does the work"
        assert first == second, f"{name} repeats"
        assert not check_plan(instance, first), f"the plan of {name} holds"
