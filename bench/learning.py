"""Time of what learning adds to a decision, in microseconds, the median of many.

Three figures: a request moved by history (`decide` with and without what was learned), the choice among models by the
expected gain for the money with beliefs read off the counts, and the kind of a text by its words.

usage: python bench/learning.py [--rounds N]
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, TierSpec
from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import EndpointView, FleetSnapshot, Health
from ostler.domain.policy import Learned, Policy
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.learning.belief import believe
from ostler.learning.choose import Aims, Option, choose
from ostler.learning.evidence import Evidence
from ostler.learning.kinds import learn_kinds, read
from ostler.routing.decide import decide

NOW = 1_750_000_000_000
MODELS = tuple(f"model-{number}" for number in range(9))
KINDS = tuple(f"kind-{number}" for number in range(13))


def median_us(work: Callable[[], object], rounds: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - started) / 1000)
    return statistics.median(times)


def fleet_and_rules() -> tuple[FleetSnapshot, Policy]:
    """Nine tiers of one model each, each on an endpoint of its own."""
    tiers = tuple(TierSpec(name=f"t{n}", rank=n + 1, models=(model,)) for n, model in enumerate(MODELS))
    direct = TierSpec(name="direct", rank=0, cost=CostClass.FREE)
    learned = {kind: Learned(enough="t1", evidence={"t1": "20 of 20"}) for kind in KINDS}
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
    return FleetSnapshot(endpoints=views, by_model=serving), Policy(
        catalog=Catalog(tiers=(direct, *tiers)), learned=learned
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2_000)
    rounds = parser.parse_args().rounds
    dice = random.Random(1)
    evidence = Evidence()
    for _ in range(2_000):
        evidence.count(dice.choice(KINDS), dice.choice(MODELS), float(dice.random() < 0.7))
    aims = Aims(value_micro_usd=10_000.0)

    def choice() -> object:
        options = [Option(model, 10.0 * n, believe(evidence, KINDS[3], model)) for n, model in enumerate(MODELS)]
        return choose(options, aims, draw=dice.random())

    snapshot, rules = fleet_and_rules()
    found = Classification(
        complexity=Complexity.COMPLEX, inferred_complexity=Complexity.COMPLEX, task_type=KINDS[3], source="heuristic"
    )
    facts = TaskFacts(id="t", kind=TaskKind.CHAT, classification=found, prompt_tokens=100, context_tokens=1_000)
    request = RouteRequest(facts=facts, now_ms=NOW, queued_ms=NOW)
    plain = Policy(catalog=rules.catalog)
    words = [f"word{number}" for number in range(400)]
    texts = [(kind, " ".join(dice.choices(words, k=40))) for kind in KINDS for _ in range(40)]
    reader = learn_kinds(texts).reader()
    question = texts[7][1]
    for name, work in (
        ("decide, nothing learned", lambda: decide(request, snapshot, plain)),
        ("decide, moved by history", lambda: decide(request, snapshot, rules)),
        ("choice among 9 models, from counts", choice),
        (f"kind of a text of {len(question)} characters", lambda: reader.guess(read(question))),
        ("one more outcome, 13 types x 9 models", lambda: evidence.count(KINDS[2], MODELS[4], 1.0)),
    ):
        print(f"{name:42} {median_us(work, rounds):8.1f} us")


if __name__ == "__main__":
    main()
