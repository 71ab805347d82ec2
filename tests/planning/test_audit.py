"""The audit of claims: sums, comparisons, critical paths, orders, slots and figures, on small cases and on the seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.audit import (
    Account,
    Claim,
    Figure,
    Step,
    audit,
    comparison_findings,
    figure_findings,
    fitting_slots,
    length_findings,
    minutes,
    order_findings,
    step_findings,
    sum_findings,
)
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.phases import Group
from ostler.simulate.fourteen_agents import READINGS, Reading, fourteen_agents
from ostler.simulate.fourteen_agents_claims import (
    CLAIMS,
    FIGURES,
    HYBRID,
    HYBRID_ROUNDED,
    SEQUENTIAL,
    SEQUENTIAL_ROUNDED,
)

MINUTE = 60_000
INSTANCE = Instance(
    hosts=(PlanHost(name="h", memory_bytes=1, models={"m": Serving(memory_bytes=1, load_ms=MINUTE, slots=2)}),),
    tasks=(
        PlanTask(id="a", choices=(Choice(models=("m",), duration_ms=10 * MINUTE),)),
        PlanTask(id="b", choices=(Choice(models=("m",), duration_ms=20 * MINUTE),), needs=("a",)),
        PlanTask(id="c", choices=(Choice(models=("m",), duration_ms=10 * MINUTE),)),
    ),
    name="small",
)


def account(*steps: tuple[str, int, str], total: int | None = None, name: str = "plan") -> Account:
    """Steps as (name, minutes, letters of its tasks); no letters make a swap."""
    made = tuple(Step(name=step, lasts_ms=lasts * MINUTE, tasks=tuple(tasks)) for step, lasts, tasks in steps)
    return Account(name=name, steps=made, total_ms=None if total is None else total * MINUTE)


def test_the_seeds_own_figures_give_its_own_totals() -> None:
    """A: 47.75 minutes with three swaps of 105 s; C: 44.08 with two of 65 s; rounded as printed, 47.8 and 44.1."""
    assert [(minutes(row.sum_ms), row.swaps, row.swap_ms) for row in (SEQUENTIAL, HYBRID)] == [
        ("47.75 min", 3, 105_000),
        ("44.08 min", 2, 65_000),
    ]
    assert [minutes(row.sum_ms) for row in (SEQUENTIAL_ROUNDED, HYBRID_ROUNDED)] == ["47.80 min", "44.10 min"]
    assert sum_findings(SEQUENTIAL_ROUNDED) + sum_findings(HYBRID_ROUNDED) == []


def test_the_hybrid_wins_by_what_its_table_leaves_out() -> None:
    """Phase 0 and its swap are all of the difference between A and C: not a millisecond remains."""
    (found,) = comparison_findings(SEQUENTIAL, HYBRID)

    assert (found.kind, found.subject, found.tasks) == ("leaves-out", "hybrid", ("chief-architect",))
    assert (found.by_ms, found.unexplained_ms) == (SEQUENTIAL.sum_ms - HYBRID.sum_ms, 0)
    assert "phase 0 and the swap from quality to latest, 3.67 min" in found.said


@pytest.mark.parametrize(("reading", "too_short"), [("map", ["sequential", "hybrid"]), ("phases", [])])
def test_under_its_own_map_the_seeds_plans_are_shorter_than_their_critical_path(
    reading: Reading, too_short: list[str]
) -> None:
    """Architect, Python, a review and DevOps take 48 minutes in a row: neither 44.08 nor 47.75 can be true."""
    found = [row for row in audit(fourteen_agents(reading), CLAIMS) if row.kind == "below-critical-path"]

    assert [row.subject for row in found] == too_short
    assert all(row.tasks == ("chief-architect", "python", "security", "devops") for row in found)
    assert [row.by_ms for row in found] == ([15_000, 235_000] if too_short else [])


@pytest.mark.parametrize("reading", READINGS)
def test_the_seeds_broken_needs_are_found_pair_by_pair(reading: Reading) -> None:
    """All three strategies run DevOps before the reviews that map and diagram make it wait for; the phases do not."""
    found = [row for claim in CLAIMS for row in order_findings(claim, fourteen_agents(reading))]

    pairs = [] if reading == "phases" else [("devops", "qa"), ("devops", "security")]
    assert [(row.subject, row.tasks) for row in found] == [(claim.name, pair) for claim in CLAIMS for pair in pairs]


def test_the_dependency_strategy_takes_far_longer_than_is_said() -> None:
    """Its reviews are awaited one after the other: 98.79 minutes on four slots, where 52 are stated."""
    (found,) = [row for row in audit(fourteen_agents(), CLAIMS) if row.subject == "dependency" and row.by_ms]

    assert found.kind == "below-its-order"
    assert found.said.startswith("its order takes 98.79 min")


def test_the_seeds_swap_figures_exclude_each_other() -> None:
    """35-45 s in the table, about 60 s in the text; what its sums were rounded to is not held against it."""
    assert [row.subject for row in figure_findings(FIGURES)] == [
        "a swap between the large models",
        "a swap from large to small",
    ]


def test_the_coding_phase_fits_five_or_six_slots_and_quality_miscounts() -> None:
    """Nine agents side by side in 25 minutes is no phase of unlimited slots, and four reviewers are three."""
    found = step_findings(SEQUENTIAL, fourteen_agents())

    assert [(row.kind, row.said) for row in found] == [
        ("slots", "phase 1 takes 25.00 min with 5 or 6 slots only"),
        ("count", "phase 2 speaks of 4 agents and lists 3"),
    ]


def test_a_sum_that_does_not_add_up_is_found_and_rounding_is_not() -> None:
    """Two minutes off is a finding of two minutes; three seconds may be rounding, four are not."""
    (found,) = sum_findings(account(("work", 10, "a"), ("swap", 1, ""), total=13))

    assert (found.kind, found.by_ms, found.said) == ("sum", 120_000, "its steps add up to 11.00 min, not 13.00 min")
    off = [Account(name="x", steps=(), total_ms=total) for total in (3_000, 3_001)]
    assert [len(sum_findings(row)) for row in off] == [0, 1]


def test_a_comparison_of_equal_work_finds_nothing() -> None:
    """Other steps, other swaps, other totals: as long as both do the same tasks nothing was left out."""
    one = account(("all", 10, "ab"), name="one")
    other = account(("first", 7, "a"), ("swap", 1, ""), ("then", 7, "b"), name="other")

    assert comparison_findings(one, other) == []


def test_a_difference_that_remains_is_told() -> None:
    """Each side lacks a step of the other; what is left of the difference after adding both is stated."""
    one = account(("a", 10, "a"), ("swap", 1, ""), ("b", 5, "b"), name="one")
    other = account(("b", 7, "b"), ("c", 2, "c"), name="other")

    found = comparison_findings(one, other)

    assert [(row.subject, row.tasks, row.by_ms // MINUTE) for row in found] == [
        ("other", ("a",), 11),
        ("one", ("c",), 2),
    ]
    assert {row.unexplained_ms for row in found} == {2 * MINUTE}
    assert "2.00 min remain" in found[0].said


@given(
    kept=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    dropped=st.sets(st.integers(0, 5)),
)
def test_dropping_steps_is_always_the_whole_explanation(kept: list[int], dropped: set[int]) -> None:
    """Whatever steps are taken out with their swaps: exactly they are found, and nothing else remains."""
    dropped &= set(range(len(kept) - 1))
    phases = [[(f"p{n}", lasts, "abcdef"[n]), (f"s{n}", 1, "")] for n, lasts in enumerate(kept)]
    whole = account(*(step for pair in phases for step in pair), name="whole")
    part = account(*(step for n, pair in enumerate(phases) if n not in dropped for step in pair), name="part")

    found = comparison_findings(whole, part)

    if not dropped:
        assert found == []
        return
    assert [row.tasks for row in found] == [tuple("abcdef"[n] for n in sorted(dropped))]
    assert (found[0].by_ms, found[0].unexplained_ms) == (whole.sum_ms - part.sum_ms, 0)


def test_a_total_below_the_critical_path_names_its_chain() -> None:
    """Thirty minutes in a row cannot be done in twenty; thirty itself is not held against the path, only the order."""
    (found,) = length_findings(Claim(name="fast", total_ms=20 * MINUTE), INSTANCE)
    order = (Group(name="all", tasks=("a", "b", "c")),)

    assert (found.kind, found.tasks, found.by_ms) == ("below-critical-path", ("a", "b"), 10 * MINUTE)
    assert [row.kind for row in length_findings(Claim(name="x", order=order, total_ms=30 * MINUTE), INSTANCE)] == [
        "below-its-order"
    ]
    assert length_findings(Claim(name="x", order=order, total_ms=31 * MINUTE), INSTANCE) == []


def test_a_claim_without_figures_or_with_half_an_order_is_no_reason_to_fail() -> None:
    """Nothing stated is nothing too short, and an order that leaves tasks out is told so and not laid out."""
    half = Claim(name="half", order=(Group(name="p", tasks=("a",)),), total_ms=60 * MINUTE)

    assert length_findings(Claim(name="mute"), INSTANCE) == []
    found = audit(INSTANCE, (half, Claim(name="mute")))
    assert [(row.kind, row.said) for row in found] == [("leaves-out", "b, c are in none of its phases")]


def test_the_stated_total_is_the_claims_own_or_its_accounts() -> None:
    """A total beside the account wins over the account's, and that over its sum."""
    told = account(("a", 10, "a"), total=12)

    assert Claim(name="x", account=told, total_ms=1).stated_ms == 1
    assert Claim(name="x", account=told).stated_ms == 12 * MINUTE
    assert Claim(name="x", account=account(("a", 10, "a"))).stated_ms == 10 * MINUTE


def test_a_duration_that_no_number_of_slots_gives_is_found() -> None:
    """Two tasks of ten minutes take ten or twenty, never fifteen."""
    (found,) = step_findings(account(("odd", 15, "ac")), INSTANCE)

    assert found.said == "odd takes 15.00 min with no number of slots"
    assert fitting_slots([10, 10], 20) == (1,)


def test_ranges_that_meet_in_one_value_agree() -> None:
    """30 s is in 20-30 s; 31 s is not."""
    given_ms = [
        Figure(quantity="swap", where="a", least_ms=20_000, most_ms=30_000),
        Figure(quantity="swap", where="b", least_ms=30_000, most_ms=30_000),
    ]
    other = Figure(quantity="swap", where="c", least_ms=31_000, most_ms=31_000)

    assert figure_findings(given_ms) == []
    assert [row.said for row in figure_findings([*given_ms, other])] == [
        "figures that exclude each other: a: 20-30 s; b: 30 s; c: 31 s"
    ]
