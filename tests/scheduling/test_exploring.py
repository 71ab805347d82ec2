"""The purse of exploration: held, paid, over at midnight, and what an empty one does."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Basis
from ostler.domain.limits import BudgetPolicy, Limit, Price
from ostler.domain.observations import Observation
from ostler.domain.policy import Arm, HistoryRule, Learned, LearningPolicy, Policy
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling.exploring import DAY_MS, Exploration
from tests.scheduling.rig import START_MS, Rig, cloud, local, three_tiers
from tests.scheduling.test_noting import kept

COUNT = Usage(input_tokens=1_000, output_tokens=1_000)


def test_what_is_held_is_paid_at_the_end() -> None:
    """The estimate stands until the count is known; what nobody counted costs the estimate."""
    purse = Exploration()
    purse.began("a/1", 300)
    purse.began("b/1", 200)
    assert purse.left(0, 1_000) == 500
    purse.ended("a/1", 100, 0)
    purse.ended("b/1", None, 0)
    assert purse.left(0, 1_000) == 700


def test_a_new_day_has_a_new_purse() -> None:
    """What is held goes on being held."""
    purse = Exploration()
    purse.began("a/1", 300)
    purse.ended("a/1", 900, 0)
    purse.began("b/1", 50)
    assert purse.left(0, 1_000) == 50
    assert purse.left(DAY_MS, 1_000) == 950
    assert purse.left(DAY_MS, 0) == 0


def test_a_restart_knows_what_today_has_paid() -> None:
    """By the outcomes that explored, of today alone."""

    def one(number: int, at_ms: int, *, explored: bool) -> Observation:
        return Observation(
            id=str(number), at_ms=at_ms, task_type="d", model="m", success=True, cost_micro_usd=100, explored=explored
        )

    purse = Exploration()
    rows = [one(1, DAY_MS - 1, explored=True), one(2, DAY_MS + 5, explored=True), one(3, DAY_MS + 6, explored=False)]
    purse.restore(rows, DAY_MS + 10)
    assert purse.left(DAY_MS + 10, 1_000) == 900


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 400)), max_size=40))
def test_a_purse_never_owes(steps: list[tuple[int, bool, int]]) -> None:
    """What is left is between nothing and the limit, whatever begins and ends."""
    purse = Exploration()
    for number, (name, begins, cost) in enumerate(steps):
        if begins:
            purse.began(str(name), cost)
        else:
            purse.ended(str(name), cost, number)
        assert 0 <= purse.left(number, 500) <= 500


def curious(limit_usd: float) -> Policy:
    base = three_tiers()
    arms = (
        Arm(tier="standard", models=("qwen",), a=30, b=10, trials=39),
        Arm(tier="complex", models=("claude",), a=30, b=10, trials=39),
    )
    learning = LearningPolicy(history=HistoryRule.POSTERIOR, explore=0.5, explore_usd_day=limit_usd)
    return replace(
        base,
        learning=learning,
        learned={"docs": Learned(arms=arms)},
        budget=BudgetPolicy(prices={"claude": Price(input=3.0, output=15.0)}),
        scheduler=replace(base.scheduler, heartbeat_ms=10**10, session_dead_ms=10**11),
    )


def rig(policy: Policy) -> Rig:
    made = Rig(policy)
    made.worker()
    made.up(local("box"))
    made.up(cloud(), models=("claude",))
    return made


def play(made: Rig, number: int) -> list[str]:
    for index in range(number):
        made.chat(f"t{index}", task_type="docs")
        made.finish(f"t{index}", usage=COUNT)
    return [one.tier for one in kept(made)]


def test_exploring_runs_and_is_logged_with_its_propensity() -> None:
    """Half of the tasks are drawn for the other tier; every outcome says how likely its choice was."""
    made = rig(curious(10.0))
    tiers = play(made, 60)
    assert 15 <= tiers.count("complex") <= 45
    for one in kept(made):
        assert (one.propensity, one.explored) == (0.5, one.tier == "complex")


def test_an_empty_purse_ends_what_costs_more_until_tomorrow() -> None:
    """The first explored task empties it: the others take the best choice, with certainty."""
    made = rig(curious(0.01))
    tiers = play(made, 40)
    assert tiers.count("complex") == 1
    later = kept(made)[tiers.index("complex") + 1 :]
    assert {one.propensity for one in later} == {1.0}
    made.pass_ms(DAY_MS - START_MS % DAY_MS)
    made.chat("tomorrow", Complexity.STANDARD, task_type="docs")
    made.finish("tomorrow", usage=COUNT)
    assert kept(made)[-1].propensity == 0.5


def test_a_refused_assignment_gives_back_what_it_held_for_exploring() -> None:
    """The store knows of money that this hub did not see spent, and says no: nothing ran, the day still has it all."""
    base = curious(10.0)
    limit = Limit(name="all", hard=1_000_000)
    made = rig(replace(base, budget=replace(base.budget, limits=(limit,))))
    made.ledger.apply(Settle(attempt="elsewhere", at_ms=START_MS, amount=Amount(micro_usd=999_999), basis=Basis.PRICED))
    waiting = next(
        name
        for name in map("t{}".format, range(60))
        if made.chat(name, task_type="docs") and not made.rows[name].session
    )
    assert made.wait_code(waiting) == "budget"
    assert made.scheduler.books.exploration.left(made.now_ms, 10_000_000) == 10_000_000


def test_no_limit_at_all_is_no_exploring_of_what_costs() -> None:
    """A purse of nothing."""
    assert set(play(rig(curious(0.0)), 30)) == {"standard"}
