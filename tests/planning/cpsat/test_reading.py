"""From values of the solver to a plan: models leave only where something needs their room."""

from ostler.planning.cpsat.data import prepared
from ostler.planning.cpsat.exchange import most_stays, placed_jobs, used_episodes
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance, PlanHost, Serving
from ostler.planning.plan import Episode, Placement, Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import hybrid
from ostler.simulate.fourteen_agents import fourteen_agents
from tests.planning.cpsat.rig import box, problem, task


def plan_of(instance: Instance) -> Plan:
    """The proven plan."""
    plan = solve(instance, seconds=20).plan
    assert plan is not None
    assert check_plan(instance, plan) == ()
    return plan


def unloaded(plan: Plan) -> list[str]:
    """Models that leave, in the order of their loads."""
    return [episode.model for episode in plan.episodes if episode.unload_start_ms is not None]


def test_the_last_model_stays() -> None:
    """Nobody needs the room of what works last."""
    assert unloaded(plan_of(problem(task("s", "a", 10), task("t", "b", 10, "s")))) == ["a"]


def test_models_with_room_for_all_stay() -> None:
    """Nothing is ever unloaded."""
    roomy = problem(task("s", "a", 10), task("t", "b", 10, "s"), hosts=(box("a", "b", memory=12),))

    assert unloaded(plan_of(roomy)) == []


def test_a_resident_that_is_in_nobodys_way_stays() -> None:
    """It was there before, has no work, and nothing else needs its memory."""
    roomy = problem(task("t", "a", 10), hosts=(box("a", "b", memory=12, resident=("b",)),))

    plan = plan_of(roomy)

    assert [(episode.model, episode.initial) for episode in plan.episodes] == [("a", False), ("b", True)]
    assert unloaded(plan) == []


def test_a_resident_in_the_way_leaves() -> None:
    """Its memory is needed at once."""
    tight = problem(task("t", "a", 10), hosts=(box("a", "b", resident=("b",)),))

    assert unloaded(plan_of(tight)) == ["b"]


def test_the_limit_of_residents_is_a_reason_to_leave() -> None:
    """Memory for both, but one at a time."""
    host = PlanHost(name="box", memory_bytes=100, models=box("a", "b").models, max_resident=1)

    assert unloaded(plan_of(problem(task("s", "a", 10), task("t", "b", 10, "s"), hosts=(host,)))) == ["a"]


def test_memory_of_a_task_is_a_reason_to_leave() -> None:
    """Both models fit together, but not beside the memory that the last task takes for itself."""
    small = Serving(memory_bytes=4, load_ms=20, unload_ms=10)
    host = PlanHost(name="box", memory_bytes=10, models={"a": small, "b": small})

    assert unloaded(plan_of(problem(task("s", "a", 10), task("t", "b", 10, "s", memory=5), hosts=(host,)))) == ["a"]


def test_a_cloud_has_no_episodes() -> None:
    """It is always ready, also with what it is said to hold at the start."""
    sky = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=2, load_ms=99)}, resident=("api",))

    plan = plan_of(problem(task("t", "api", 10), hosts=(sky,)))

    assert (plan.episodes, plan.makespan_ms) == ((), 10)


def test_episodes_and_placements_are_in_order() -> None:
    """Episodes by load, placements by start, ties by name: one plan, one text."""
    plan = plan_of(fourteen_agents("phases", 9))

    assert list(plan.episodes) == sorted(plan.episodes, key=lambda one: (one.load_start_ms, one.host, one.model))
    assert list(plan.placements) == sorted(plan.placements, key=lambda one: (one.start_ms, one.task))


def test_times_are_read_in_milliseconds() -> None:
    """Ticks of five are multiplied again."""
    instance = problem(task("s", "a", 105), task("t", "b", 55, "s"))
    assert prepared(instance).tick_ms == 5

    placements = plan_of(instance).placements

    assert [(one.start_ms, one.end_ms) for one in placements] == [(20, 125), (155, 210)]


CHAIN = problem(task("a1", "a", 10), task("b1", "b", 10, "a1"), task("a2", "a", 10, "b1"))


def test_the_most_stays_of_a_plan_are_counted_by_host_and_model() -> None:
    """Two of `a`, one of `b`; an empty plan has none."""
    assert most_stays(hybrid(CHAIN)) == 2
    assert most_stays(Plan(strategy="none", episodes=(), placements=())) == 0


def test_twins_are_told_in_the_order_the_model_wants() -> None:
    """Whatever order a plan gives equal tasks, the first listed is told to start first."""
    instance = problem(task("s", "a", 10), task("t", "a", 10))
    rows = {"s": (30, 40), "t": (20, 30)}
    placements = tuple(
        Placement(task=name, host="box", start_ms=start, end_ms=end) for name, (start, end) in rows.items()
    )
    plan = Plan(
        strategy="test", episodes=(Episode(host="box", model="a", load_start_ms=0, ready_ms=20),), placements=placements
    )
    assert check_plan(instance, plan) == ()

    placed = placed_jobs(prepared(instance), plan)

    assert [placed[0].start_ms, placed[1].start_ms] == [20, 30]


def test_a_stay_that_serves_nobody_is_not_told() -> None:
    """A load that no task uses has no place in the model, where each stay serves a task."""
    plan = hybrid(CHAIN)
    idle = Episode(host="box", model="b", load_start_ms=500, ready_ms=520)
    more = Plan(strategy="test", episodes=(*plan.episodes, idle), placements=plan.placements)
    made = prepared(CHAIN)

    told = {made.seats[seat].model: used_episodes(made, seat, more, placed_jobs(made, more)) for seat in (0, 1)}

    assert [[jobs for _, jobs in told[model]] for model in ("a", "b")] == [[[0], [2]], [[1]]]
