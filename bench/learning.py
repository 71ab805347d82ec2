"""Time of learning: what it adds to a decision, and how that grows with the number of outcomes.

The first table is of decisions, in microseconds, the median of many: without anything learned, by `posterior` with nine
tiers to weigh, the kind of a text by its words, and all of that together, which is what one decision with learning
costs. The second one is of everything around it as outcomes grow: one more outcome, a look at what is proven (in a
thread, every half minute), and reading everything at start. Fails where a decision takes more than a millisecond.

usage: python bench/learning.py [--rounds N] [--outcomes N [N ...]]
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from ostler.app.kinds import shipped_reader
from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, TierSpec
from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import EndpointView, FleetSnapshot, Health
from ostler.domain.limits import BudgetPolicy, Price
from ostler.domain.observations import Observation
from ostler.domain.policy import HistoryRule, LearningPolicy, Policy
from ostler.domain.states import Outcome
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind, TaskSpec
from ostler.hub.pattern_rows import learn
from ostler.learning.evidence import Evidence
from ostler.learning.lessons import corrected
from ostler.learning.verifier import Check
from ostler.routing.classify import classify
from ostler.routing.decide import decide

NOW = 1_750_000_000_000
BAR_US = 1_000.0
MODELS = tuple(f"model-{number}" for number in range(9))
KINDS = tuple(f"kind-{number}" for number in range(13))
WORDS = "Please write unit tests for the tokenizer, also for empty input and for text in other scripts; keep them fast."


def median_us(work: Callable[[], object], rounds: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - started) / 1000)
    return statistics.median(times)


def fleet_and_rules() -> tuple[FleetSnapshot, Policy]:
    """Nine tiers of one model each, each on an endpoint of its own; the upper half is paid for."""
    tiers = tuple(
        TierSpec(name=f"t{n}", rank=n + 1, models=(model,), cost=CostClass.METERED if n > 4 else CostClass.LOCAL)
        for n, model in enumerate(MODELS)
    )
    direct = TierSpec(name="direct", rank=0, cost=CostClass.FREE)
    views = {
        f"e{n}": EndpointView(
            spec=EndpointSpec(
                name=f"e{n}",
                kind=EndpointKind.OLLAMA,
                url=f"http://e{n}",
                provider="ollama",
                host=f"e{n}",
                local=True,
                slots=2,
            ),
            health=Health.UP,
            models=frozenset({model}),
            checked_ms=NOW,
        )
        for n, model in enumerate(MODELS)
    }
    serving = {model: (f"e{n}",) for n, model in enumerate(MODELS)}
    policy = Policy(
        catalog=Catalog(tiers=(direct, *tiers)),
        learning=LearningPolicy(history=HistoryRule.POSTERIOR),
        budget=BudgetPolicy(prices={model: Price(input=n, output=4 * n) for n, model in enumerate(MODELS)}),
    )
    return FleetSnapshot(endpoints=views, by_model=serving), policy


def outcomes(number: int) -> list[Observation]:
    """So many, of all models at all kinds."""
    dice = random.Random(1)
    return [
        Observation(
            id=f"t{place}:1",
            at_ms=NOW + place,
            task_id=f"t{place}",
            task_type=dice.choice(KINDS),
            model=model,
            success=dice.random() < 0.5 + 0.05 * MODELS.index(model),
            attempt=1 + (dice.random() < 0.1),
            proof=Outcome.VERIFIED,
            cost_micro_usd=100 * MODELS.index(model),
            duration_ms=1_000,
        )
        for place in range(number)
        for model in (dice.choice(MODELS),)
    ]


def decisions(evidence: Evidence, rounds: int) -> float:
    """Print the first table; returns what one decision with learning takes."""
    snapshot, rules = fleet_and_rules()
    learned = replace(rules, learned=learn(evidence, Check(0.05, 0.05), rules))
    found = Classification(
        complexity=Complexity.COMPLEX,
        inferred_complexity=Complexity.COMPLEX,
        task_type=KINDS[3],
        source="heuristic",
        verification_steps=1,
    )
    facts = TaskFacts(id="t", kind=TaskKind.CHAT, classification=found, prompt_tokens=100, context_tokens=1_000)
    request = RouteRequest(facts=facts, now_ms=NOW, queued_ms=NOW)
    spec, reader = TaskSpec(id="t", prompt=WORDS), shipped_reader()

    def whole() -> object:
        classify(spec, reader=reader)
        return decide(request, snapshot, learned)

    total = 0.0
    for name, work in (
        ("decide, nothing learned", lambda: decide(request, snapshot, rules)),
        ("decide, nine tiers weighed", lambda: decide(request, snapshot, learned)),
        (f"kind of a text of {len(WORDS)} characters", lambda: classify(spec, reader=reader)),
        ("one decision with all of it", whole),
    ):
        total = median_us(work, rounds)
        print(f"{name:42} {total:8.1f} us")
    return total


def growth(numbers: list[int]) -> None:
    """Print the second table."""
    _, rules = fleet_and_rules()
    print(f"\n{'outcomes':>10} {'one more':>12} {'a look':>12} {'reading all':>12}")
    for number in numbers:
        rows = outcomes(number)
        started = time.perf_counter()
        evidence = Evidence(corrected(rows).outcomes)
        reading_ms = (time.perf_counter() - started) * 1000
        more = outcomes(200)
        one_us = median_us(iter(map(evidence.add, more)).__next__, 200)
        look_ms = median_us(partial(learn, evidence, Check(0.05, 0.05), rules), 5) / 1000
        print(f"{number:>10} {one_us:>9.1f} us {look_ms:>9.1f} ms {reading_ms:>9.1f} ms")


def main() -> int:
    """Measure and print; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--outcomes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    arguments = parser.parse_args()
    evidence = Evidence(corrected(outcomes(arguments.outcomes[-1])).outcomes)
    print(f"after {arguments.outcomes[-1]} outcomes, 13 types x 9 models")
    total = decisions(evidence, arguments.rounds)
    growth(arguments.outcomes)
    print(f"\n{'ok' if total <= BAR_US else 'MISSED'}: one decision with learning {total:.0f} us, bar {BAR_US:.0f}")
    return 0 if total <= BAR_US else 1


if __name__ == "__main__":
    sys.exit(main())
