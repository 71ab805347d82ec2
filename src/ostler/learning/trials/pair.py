"""A weak and a strong model: which calls deserve the strong one."""

from collections.abc import Callable, Sequence

from ostler.learning import features, ridge
from ostler.learning.curves import area, recovered, share_for
from ostler.learning.trials import Figures, Row, Score, halves
from ostler.learning.vectors import vocabulary


class PairRow(Row, frozen=True, kw_only=True):
    """Whether each of the two was right: 0 to 1."""

    weak: Score
    strong: Score


Read = tuple[dict[int, int], tuple[float, ...]]


def run(rows: Sequence[PairRow], seed: int, *, read: Callable[[str], Read] | None = None) -> list[Figures]:
    """One split: half to learn from, half to test on. `read`: the features of a text, for who keeps them.

    Raises `ValueError` where the strong model is not better on the half to test on: there is no gap to recover.
    """
    train, test = halves(rows, seed)
    read = read or read_text
    learned = [read(row.prompt) for row in train]
    words = vocabulary([grams for grams, _ in learned], [counts for _, counts in learned])
    vectors = [words.vector_of(grams, counts) for grams, counts in learned]
    gain = ridge.fit(vectors, [row.strong - row.weak for row in train], words.size)
    routers = {
        "always weak": None,
        "always strong": None,
        "random": [0.0] * len(test),
        "prompt length": [float(len(row.prompt)) for row in test],
        "predicted gain": [gain.predict(words.vector_of(*read(row.prompt))) for row in test],
        "oracle": [row.strong - row.weak for row in test],
    }
    weak, strong = [float(row.weak) for row in test], [float(row.strong) for row in test]
    lines = []
    for name, scores in routers.items():
        if scores is None:
            of = strong if name == "always strong" else weak
            lines.append(Figures(name=name, figures={"accuracy": sum(of) / len(of)}))
            continue
        line = recovered(scores, weak, strong)
        figures = {"apgr": area(line), "cpt50": share_for(line, 0.5), "cpt80": share_for(line, 0.8)}
        lines.append(Figures(name=name, figures=figures))
    return lines


def read_text(text: str) -> Read:
    """The features of a text."""
    return features.grams(text), features.counts(text)
