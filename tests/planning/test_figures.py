"""The figures of a plan: swaps, idle time, use of slots, peak memory, money, critical path."""

from ostler.planning.figures import figures
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Episode, Placement, Plan

INSTANCE = Instance(
    hosts=(
        PlanHost(
            name="box",
            memory_bytes=10,
            models={
                "a": Serving(memory_bytes=6, load_ms=20, unload_ms=10, slots=2),
                "b": Serving(memory_bytes=8, load_ms=30, unload_ms=5),
            },
        ),
        PlanHost(name="sky", cloud=True, models={"api": Serving(slots=2)}),
    ),
    tasks=(
        PlanTask(id="one", choices=(Choice(models=("a",), duration_ms=100, memory_bytes=3),)),
        PlanTask(id="two", choices=(Choice(models=("b",), duration_ms=50),), needs=("one",)),
        PlanTask(id="far", choices=(Choice(models=("api",), duration_ms=80, cost_micro_usd=7),)),
    ),
)
PLAN = Plan(
    strategy="test",
    episodes=(
        Episode(host="box", model="a", load_start_ms=0, ready_ms=20, unload_start_ms=120, unload_end_ms=130),
        Episode(host="box", model="b", load_start_ms=140, ready_ms=170, unload_start_ms=230, unload_end_ms=235),
    ),
    placements=(
        Placement(task="one", host="box", start_ms=20, end_ms=120),
        Placement(task="two", host="box", start_ms=170, end_ms=220),
        Placement(task="far", host="sky", start_ms=0, end_ms=80),
    ),
)


def test_the_swaps_of_a_plan_are_counted_and_timed() -> None:
    """Two loads and the one unload before the end; an unload after the last task is not part of the work."""
    box = figures(INSTANCE, PLAN).hosts[0]

    assert (box.loads, box.unloads, box.swap_ms) == (2, 1, 60)
    assert figures(INSTANCE, PLAN).loads == PLAN.loads


def test_idle_time_is_what_neither_work_nor_swaps_cover() -> None:
    """The ten milliseconds between the unload and the next load are idle; the cloud's idle time is nobody's loss."""
    made = figures(INSTANCE, PLAN)

    assert (made.makespan_ms, made.idle_ms, made.hosts[1].idle_ms) == (220, 10, 140)


def test_the_use_of_slots_is_the_share_of_ready_slot_time_with_a_task() -> None:
    """150 ms of work in 2 x 100 + 50 ms of ready slots; the cloud's two slots worked 80 of 440 ms."""
    assert [row.slot_use_permille for row in figures(INSTANCE, PLAN).hosts] == [600, 181]


def test_peak_memory_counts_models_and_running_tasks() -> None:
    """Six for the model and three for its task are more than eight for the other model."""
    assert [row.peak_memory_bytes for row in figures(INSTANCE, PLAN).hosts] == [9, 0]


def test_money_and_critical_path_are_told() -> None:
    """The price of the choices taken, and the chain that no plan can beat."""
    made = figures(INSTANCE, PLAN)

    assert (made.cost_micro_usd, made.critical_path_ms, made.critical_path) == (7, 150, ("one", "two"))


def test_a_plan_of_nothing_has_figures_of_nothing() -> None:
    """No tasks: no time, no swaps, no path."""
    empty = figures(Instance(hosts=INSTANCE.hosts, tasks=()), Plan(strategy="none", episodes=(), placements=()))

    assert (empty.makespan_ms, empty.loads, empty.idle_ms, empty.critical_path) == (0, 0, 0, ())
    assert all(row.slot_use_permille == 0 for row in empty.hosts)
