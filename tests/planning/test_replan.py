"""Planning again in sampled futures: the present is never rewritten, and what looks ahead loses to nobody."""

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.planning.board import FINISHED
from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Instance
from ostler.planning.pilot import alternatives, follow, pilot, run_value
from ostler.planning.plan_checker import check_plan
from ostler.planning.replan import Replanner, followed_ms, imagined
from ostler.residency.rule import LIVE, Load
from ostler.simulate.instances import random_instance
from tests.planning.instances import Count, instances, one_host, task

ALTERNATING = Instance(
    hosts=(one_host(large=1, other=1),),
    tasks=(task("a", "large"), task("b", "other"), task("c", "large"), task("d", "other", 1_000, "c")),
)


def first_decision(instance: Instance) -> tuple[Run, Load]:
    """A run stopped at its first load, and that load."""
    seen: list[tuple[Run, Load]] = []

    def note(run: Run, natural: Load) -> Load:
        if not seen:
            seen.append((run.copy(), natural))
        return natural

    run = Run(Compiled(instance))
    run.chooser = note
    run.go()
    return seen[0]


def noisy(compiled: Compiled, dice: Random, sigma: float) -> list[int]:
    return [max(1, round(ms * dice.lognormvariate(-sigma * sigma / 2, sigma))) for ms in compiled.shortest]


def test_alternatives_are_the_natural_move_every_other_load_and_to_wait() -> None:
    """The natural one first, so that a tie changes nothing."""
    run, natural = first_decision(ALTERNATING)

    moves = alternatives(run, natural)

    assert moves[0] is natural
    assert moves[-1] is None
    assert sorted(move.model for move in moves if move is not None) == ["large", "other"]


def test_following_a_move_leaves_the_run_where_it_is() -> None:
    """Every alternative is carried out on a copy."""
    run, natural = first_decision(ALTERNATING)

    ends = [follow(run, move).makespan_ms for move in alternatives(run, natural)]

    assert run.now_ms == 0
    assert run.left == 4
    assert len(set(ends)) > 1, "and it matters which is taken"


def test_to_wait_puts_a_decision_off_to_the_next_event() -> None:
    """Where nothing else will happen, waiting is no end: what waits is loaded for in the end."""
    run, _ = first_decision(ALTERNATING)

    assert follow(run, None).left == 0


def test_in_an_imagined_future_running_tasks_end_when_it_says() -> None:
    """What has started keeps its start; what has ended keeps its end."""
    compiled = Compiled(ALTERNATING)
    run = Run(compiled).go(until_ms=1_300)
    running = [event[2] for event in run.events if event[1] == FINISHED]

    twin = imagined(run, [5_000] * compiled.size)

    assert running == [0]
    assert twin.ends[2] == run.ends[2] == 1_200
    assert twin.ends[0] == run.starts[0] + 5_000
    assert run.ends[0] == run.starts[0] + 1_000, "the run itself knows nothing of it"


def test_what_should_have_ended_already_ends_next() -> None:
    """A scenario cannot rewrite the past."""
    compiled = Compiled(ALTERNATING)
    run = Run(compiled).go(until_ms=1_300)

    twin = imagined(run, [1] * compiled.size)

    assert twin.ends[0] == run.now_ms + 1
    assert twin.go().left == 0


def test_a_future_is_followed_with_its_own_durations() -> None:
    """Twice as long tasks make a longer end, not exactly twice: swaps stay as they are."""
    run, natural = first_decision(ALTERNATING)

    usual, double = (followed_ms(run, natural, [ms] * 4) for ms in (1_000, 2_000))

    assert usual is not None
    assert double is not None
    assert usual < double < 2 * usual


def test_without_futures_or_effort_the_rule_decides() -> None:
    """Looking ahead is an addition, never a condition."""
    run, natural = first_decision(ALTERNATING)

    nothing_known = Replanner(lambda _: [], Count(100))
    no_time = Replanner(lambda one: [one.compiled.shortest], Count(0))

    assert nothing_known.choose(run, natural) is natural
    assert no_time.choose(run, natural) is natural


def test_only_a_real_gain_overrules_the_rule() -> None:
    """With all alternatives of equal worth the natural move stands."""
    run, natural = first_decision(Instance(hosts=(one_host(memory=50),), tasks=(task("a", "large"),)))
    planner = Replanner(lambda one: [one.compiled.shortest], Count(100))

    assert planner.choose(run, natural) is natural
    assert planner.changed == 0


def test_with_certain_durations_planning_again_is_the_pilot() -> None:
    """One scenario that is the truth: no worse than the rule, and the plan holds."""
    for seed in range(4):
        compiled = Compiled(random_instance(seed, 30, 1, regime="call"))
        run = Run(compiled)
        planner = Replanner(lambda one: [one.compiled.shortest], Count(10**6))
        run.chooser = planner.choose

        run.go()

        assert run.makespan_ms <= Run(compiled).go().makespan_ms
        assert check_plan(compiled.instance, run.plan("again")) == ()


def test_under_noise_planning_again_beats_the_fixed_rule_on_average() -> None:
    """Two tight problems, three draws of durations, three scenarios each."""
    fixed_ms = again_ms = 0
    for seed in range(6):
        compiled = Compiled(random_instance(seed % 2, 40, 1, regime="call"))
        actual = noisy(compiled, Random(f"actual {seed}"), 0.5)
        dice = Random(f"scenarios {seed}")

        def futures(run: Run, dice: Random = dice) -> Sequence[Sequence[int]]:
            return [noisy(run.compiled, dice, 0.5) for _ in range(3)]

        fixed_ms += Run(compiled, actual=actual).go().makespan_ms
        run = Run(compiled, actual=actual)
        run.chooser = Replanner(futures, Count(10**6)).choose
        again_ms += run.go().makespan_ms

    assert again_ms < fixed_ms


@settings(max_examples=40)
@given(instances(), st.integers(0, 10**6))
def test_whatever_is_chosen_in_whatever_future_the_result_can_be_carried_out(instance: Instance, seed: int) -> None:
    """Durations that nobody estimated, decisions that the rule did not make: all rules of the problem hold."""
    compiled = Compiled(instance)
    dice = Random(seed)
    run = Run(compiled)
    run.chooser = Replanner(lambda one: [noisy(one.compiled, dice, 0.6) for _ in range(2)], Count(200)).choose

    run.go()

    assert run.left == 0, "everything runs in the end"
    assert not check_plan(instance, run.plan("again")), "and the plan holds"


@settings(max_examples=40)
@given(instances())
def test_the_pilot_is_never_worse_than_its_rule(instance: Instance) -> None:
    """For sets of models and memory of tasks too, where no other search works."""
    compiled = Compiled(instance)

    piloted = pilot(compiled, LIVE, Count(60))

    assert run_value(piloted) <= run_value(Run(compiled).go()), "the natural move is among the alternatives"
    assert not check_plan(instance, piloted.plan("pilot")), "and the plan holds"
