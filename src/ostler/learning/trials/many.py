"""Several models with prices: how good a mixture can be had for which money.

A router predicts a score for each model and takes the best of score - price x cost; the price is swept from nothing to
so much that the cheapest always wins. Points are means over the tasks to test on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec

from ostler.learning.belief import Shrinkage, believe
from ostler.learning.curves import Point, quality, saved
from ostler.learning.evidence import Evidence
from ostler.learning.kinds import KindModel, read
from ostler.learning.trials import Figures, Row, Score, halves

WEIGHTS = Shrinkage(type_weight=3.0)
ANSWER_TOKENS = 200
_STEPS = 120
_PER_DECADE = 20.0


class ManyRow(Row, frozen=True, kw_only=True):
    """The score of every model at the task: 0 to 1."""

    task_type: str = ""
    est_tokens: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    scores: dict[str, Score]

    @property
    def tokens(self) -> float:
        """Tokens of a call, in and out: as stated, else a quarter of the characters and `ANSWER_TOKENS`."""
        return self.est_tokens if self.est_tokens is not None else len(self.prompt) / 4 + ANSWER_TOKENS


Predict = Callable[[ManyRow], Mapping[str, float]]
Prices = Mapping[str, float]


Cues = dict[int, int]


def run(rows: Sequence[ManyRow], prices: Prices, seed: int, *, reads: Callable[[str], Cues] = read) -> list[Figures]:
    """One split: half to learn from, half to test on. `prices`: dollars per million tokens; `reads`: the cues of a
    text, for who keeps them.
    """
    train, test = halves(rows, seed)
    models = sorted(prices, key=lambda name: (prices[name], name))
    singles = {name: _point(test, prices, [name] * len(test)) for name in models}
    best = min(models, key=lambda name: (-singles[name].score, singles[name].cost, name))
    low, high = min(point.cost for point in singles.values()), max(point.cost for point in singles.values())

    def told(name: str, points: Sequence[Point]) -> Figures:
        figures = {
            "accuracy": max(point.score for point in points),
            "saved": saved(points, singles[best]),
            "aiq": quality(points, low, high),
        }
        return Figures(name=name, figures=figures)

    dearest = max(models, key=lambda name: (prices[name], singles[name].score))
    evidence = learn(train, models)
    kinds = KindModel()
    for row in train:
        kinds.learn(row.task_type, reads(row.prompt))
    reader = kinds.reader()
    given = table(evidence, models)
    guessed = {row.id: reader.guess(reads(row.prompt), confidence_min=0.0).kind for row in test}
    everywhere = table(evidence, models, of=lambda _: "")
    return [
        told("always cheapest", [singles[models[0]]]),
        told("always dearest", [singles[dearest]]),
        told("random", [_mixed(list(singles.values()))]),
        told("best single", list(singles.values())),
        told("one mean per model", sweep(test, prices, everywhere)),
        told("table, type from the text", sweep(test, prices, table(evidence, models, of=lambda row: guessed[row.id]))),
        told("table, type given", sweep(test, prices, given)),
        told("oracle", sweep(test, prices, lambda row: row.scores)),
        *unseen(rows, prices, models),
    ]


def unseen(rows: Sequence[ManyRow], prices: Prices, models: Sequence[str]) -> list[Figures]:
    """Each type in turn as one that nobody has seen: the table, the mean over all work, and the dearest model.

    `gap` = accuracy less that of the global means; the table must not be below.
    """
    dearest = max(models, key=lambda name: (prices[name], name))
    score = {"global means": 0.0, "table": 0.0, "dearest": 0.0}
    for kind in sorted({row.task_type for row in rows}):
        members = [row for row in rows if row.task_type == kind]
        evidence = learn([row for row in rows if row.task_type != kind], models)
        overall = {name: evidence.of_model(name) for name in models}
        means = {name: counts.successes / max(1.0, counts.trials) for name, counts in overall.items()}
        shrunk = table(evidence, models)(members[0])
        for name, chosen in (("global means", _best(means)), ("table", _best(shrunk)), ("dearest", dearest)):
            score[name] += sum(row.scores[chosen] for row in members) / len(rows)
    return [
        Figures(name=f"unseen type: {name}", figures={"accuracy": value, "gap": score["table"] - score["global means"]})
        for name, value in score.items()
    ]


def _best(scores: Mapping[str, float]) -> str:
    return min(scores, key=lambda name: (-scores[name], name))


def learn(rows: Sequence[ManyRow], models: Sequence[str]) -> Evidence:
    """All outcomes of some tasks, nothing faded: they are of one time."""
    evidence = Evidence(decay=1.0)
    evidence.count_all((row.task_type, name, row.scores[name]) for row in rows for name in models)
    return evidence


def table(evidence: Evidence, models: Sequence[str], *, of: Callable[[ManyRow], str] | None = None) -> Predict:
    """Predictions by the type of a task alone; a type that is not known is predicted as all work."""
    known: dict[str, dict[str, float]] = {}

    def predict(row: ManyRow) -> Mapping[str, float]:
        kind = row.task_type if of is None else of(row)
        if kind not in known:
            known[kind] = {name: believe(evidence, kind, name, shrinkage=WEIGHTS).mean for name in models}
        return known[kind]

    return predict


def sweep(rows: Sequence[ManyRow], prices: Prices, predict: Predict) -> list[Point]:
    """The points of a router over the price of a score."""
    models = sorted(prices, key=lambda name: (prices[name], name))
    predicted = [predict(row) for row in rows]
    points = []
    for step in range(_STEPS):
        per_usd = 0.0 if step == 0 else 10.0 ** (step / _PER_DECADE)
        chosen = [
            max(models, key=lambda name: scores[name] - per_usd * row.tokens * prices[name] / 1e6)
            for row, scores in zip(rows, predicted, strict=True)
        ]
        points.append(_point(rows, prices, chosen))
    return points


def _point(rows: Sequence[ManyRow], prices: Prices, chosen: Sequence[str]) -> Point:
    both = list(zip(rows, chosen, strict=True))
    cost = sum(row.tokens * prices[name] / 1e6 for row, name in both)
    return Point(cost / len(rows), sum(row.scores[name] for row, name in both) / len(rows))


def _mixed(points: Sequence[Point]) -> Point:
    return Point(sum(point.cost for point in points) / len(points), sum(point.score for point in points) / len(points))
