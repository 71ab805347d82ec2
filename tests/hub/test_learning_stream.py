"""Hundreds of tasks, one after the other, through the decision and what the hub learns: what becomes of the traffic."""

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from ostler.domain.catalog import Catalog, CostClass, ModelSpec, TierSpec
from ostler.domain.decision import Route, RouteRequest
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.limits import BudgetPolicy, Price
from ostler.domain.observations import Observation
from ostler.domain.policy import HistoryRule, LearningPolicy, Policy, RoutingPolicy
from ostler.domain.states import Outcome
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.hub.pattern_rows import learn
from ostler.learning.evidence import Evidence
from ostler.learning.verifier import Check
from tests.routing.fleets import NOW, view

TIERS = (
    TierSpec(name="direct", rank=0, cost=CostClass.FREE),
    TierSpec(name="small", rank=1, models=("tiny",)),
    TierSpec(name="large", rank=2, models=("good", "hollow")),
    TierSpec(name="cloud", rank=3, models=("fine",), cost=CostClass.METERED),
    TierSpec(name="dear", rank=4, models=("blunder",), cost=CostClass.METERED),
)
PRICES = {"fine": Price(input=3.0, output=15.0), "blunder": Price(input=15.0, output=75.0)}
MODELS = ("tiny", "good", "hollow", "fine", "blunder")
FLEET = FleetSnapshot(
    endpoints={model: view(model, model, local=model not in PRICES, slots=9) for model in MODELS},
    by_model={model: (model,) for model in MODELS},
)
EVERY = 10
"""Tasks between two looks of the hub."""


def policy(standard: str, **learning: object) -> Policy:
    rules = LearningPolicy(history=HistoryRule.POSTERIOR, **learning)  # type: ignore[arg-type]
    return Policy(
        catalog=Catalog(tiers=TIERS, models={name: ModelSpec(name=name) for name in MODELS}),
        routing=RoutingPolicy(complexity_tiers={"trivial": "direct", "standard": standard, "complex": "dear"}),
        budget=BudgetPolicy(prices=PRICES),
        learning=rules,
    )


def play(
    rules: Policy, rates: dict[str, float], number: int, *, seed: int = 1, evidence: Evidence | None = None
) -> tuple[list[str], list[bool]]:
    """Models that were used and how it went, task by task."""
    dice, known = Random(seed), evidence or Evidence()
    used, went = [], []
    found = Classification(
        complexity=Complexity.STANDARD,
        inferred_complexity=Complexity.STANDARD,
        task_type="docs",
        source="heuristic",
        verification_steps=1,
    )
    for index in range(number):
        if index % EVERY == 0:
            rules = replace(rules, learned=learn(known, Check(0.05, 0.05), rules))
        facts = TaskFacts(id=f"{seed}-{index}", kind=TaskKind.CHAT, classification=found, prompt_tokens=500)
        verdict = decide_now(facts, rules)
        model = verdict.decision.selected_model or ""
        success = dice.random() < rates[model]
        cost = 0 if model not in PRICES else 9_000
        known.add(
            Observation(
                id=str(index),
                at_ms=index,
                task_type="docs",
                model=model,
                success=success,
                proof=Outcome.VERIFIED,
                cost_micro_usd=cost,
            )
        )
        used.append(model)
        went.append(success)
    return used, went


def decide_now(facts: TaskFacts, rules: Policy) -> Route:
    from ostler.routing.decide import decide

    verdict = decide(RouteRequest(facts=facts, now_ms=NOW, queued_ms=NOW), FLEET, rules)
    assert isinstance(verdict, Route)
    return verdict


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_dominated_model_gets_no_more_than_a_twentieth(seed: int) -> None:
    """After two hundred tasks: one that is no cheaper and much worse than its neighbour on the same tier, and a dear
    tier that is worse than all.
    """
    rates = {"tiny": 0.5, "good": 0.85, "hollow": 0.1, "fine": 0.9, "blunder": 0.2}
    used, _ = play(policy("large"), rates, 600, seed=seed)
    later = Counter(used[200:])
    assert later["hollow"] / 400 <= 0.05
    assert later["blunder"] / 400 <= 0.05
    assert (later["good"] + later["fine"]) / 400 >= 0.85


def test_dear_work_goes_down_to_what_is_proven_cheaper() -> None:
    """A tier that the profile asks for and that a cheap one is as good as: the cheap one is found by exploring, proven,
    and then has most of the traffic, at a fraction of the cost and no lower success.
    """
    rates = {"tiny": 0.95, "good": 0.9, "hollow": 0.9, "fine": 0.95, "blunder": 0.95}
    used, went = play(policy("cloud", explore=0.1), rates, 800)
    assert Counter(used[:50])["fine"] >= 35
    assert Counter(used[600:])["fine"] <= 30
    assert sum(went[600:]) / 200 >= 0.85


def test_weak_work_goes_up_once_it_is_known_to_be_worth_it() -> None:
    """The tier that the profile asks for mostly fails; a dearer one gains more than it costs."""
    rates = {"tiny": 0.2, "good": 0.95, "hollow": 0.95, "fine": 0.95, "blunder": 0.2}
    used, went = play(policy("small", explore=0.1), rates, 500)
    assert Counter(used[300:])["tiny"] <= 40
    assert sum(went[300:]) / 200 >= 0.8


def test_without_exploring_nothing_is_found_out_and_nothing_is_lost() -> None:
    """All work goes where the profile sends it, as nothing else has an outcome."""
    rates = dict.fromkeys(MODELS, 0.8)
    used, _ = play(policy("cloud", explore=0.0), rates, 200)
    assert set(used) == {"fine"}


def test_equal_evidence_gives_equal_choices_under_one_seed() -> None:
    """The same tasks, the same outcomes: the same choices to the last one; another seed explores other tasks."""
    rates = {"tiny": 0.5, "good": 0.85, "hollow": 0.1, "fine": 0.9, "blunder": 0.2}
    first, again = play(policy("large", explore=0.2), rates, 120), play(policy("large", explore=0.2), rates, 120)
    other = play(policy("large", explore=0.2, seed=5), rates, 120)
    assert first == again
    assert first[0] != other[0]
