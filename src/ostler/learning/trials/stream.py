"""One task after the other, one outcome each, only of the model that was chosen: what is earned while learning.

    utility = score - cost_weight x cost / cost of the dearest model

Compared with the best fixed model and the best model of each type, both in hindsight.
"""

from collections.abc import Sequence

from ostler.learning.belief import Shrinkage, believe
from ostler.learning.choose import Aims, Option, choose, draw_of
from ostler.learning.evidence import DECAY, Evidence
from ostler.learning.trials import Figures, order
from ostler.learning.trials.many import ManyRow, Prices

COST_WEIGHT = 0.10
_UNIT = 1e6
AIMS = Aims(value_micro_usd=_UNIT, optimism=1.2, explore=0.01)
WEIGHTS = Shrinkage(type_weight=3.0)
SETTLED = 200
"""After so many tasks a dominated model should be known."""


def run(
    rows: Sequence[ManyRow],
    prices: Prices,
    seed: int,
    *,
    aims: Aims = AIMS,
    shrinkage: Shrinkage = WEIGHTS,
    decay: float = DECAY,
) -> list[Figures]:
    """One order of the tasks, from no outcomes at all."""
    mixed = order(rows, seed)
    models = sorted(prices, key=lambda name: (prices[name], name))
    dearest = max(prices.values()) or 1.0
    fees = {name: COST_WEIGHT * prices[name] / dearest for name in models}
    evidence = Evidence(decay=decay)
    earned: list[float] = []
    chosen: list[str] = []
    for row in mixed:
        options = [
            Option(name, _UNIT * fees[name], believe(evidence, row.task_type, name, shrinkage=shrinkage))
            for name in models
        ]
        choice = choose(options, aims, draw=draw_of(seed, str(row.id)))
        name = choice.chosen.name if choice is not None else models[0]
        evidence.count(row.task_type, name, row.scores[name])
        chosen.append(name)
        earned.append(row.scores[name] - fees[name])
    half = len(earned) // 2
    utilities = {name: _mean([row.scores[name] - fees[name] for row in mixed]) for name in models}
    worst = min(models, key=lambda name: (utilities[name], name))
    later = chosen[SETTLED:]
    return [
        Figures(name="best fixed model", figures={"utility": max(utilities.values())}),
        Figures(name="best model of each type", figures={"utility": _by_type(mixed, fees)}),
        Figures(name="learned, cold", figures={"utility": _mean(earned), "second_half": _mean(earned[half:])}),
        Figures(name="traffic of the worst model", figures={"share": later.count(worst) / max(1, len(later))}),
    ]


def _by_type(rows: Sequence[ManyRow], fees: dict[str, float]) -> float:
    total = 0.0
    for kind in sorted({row.task_type for row in rows}):
        members = [row for row in rows if row.task_type == kind]
        total += max(sum(row.scores[name] - fee for row in members) for name, fee in fees.items())
    return total / len(rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
