"""Train what a hub knows of types of work before anybody labelled a task, and say how good it is.

Learns from sentences of our own in `scripts/data`: some written by hand (task_types.txt), some made by filling phrases
(task_patterns.txt). Nothing else: the licences of public collections of prompts do not all allow it. Prints two
accuracies: of the phrases alone on all sentences by hand, none of which they saw; and of both, where each fifth of the
sentences by hand is held out in turn. Then writes the weights, the same on every machine.

Who wrote the sentences wrote the phrases, too: on other people's work expect less.

usage: python scripts/train_types.py [--check]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from ostler.learning.kinds import CONFIDENCE_MIN, KindModel, learn_kinds, read

ROOT = Path(__file__).resolve().parents[1]
BY_HAND = ROOT / "scripts/data/task_types.txt"
PATTERNS = ROOT / "scripts/data/task_patterns.txt"
WEIGHTS = ROOT / "src/ostler/learning/kinds.json"
FILLINGS = 3
"""Sentences that are made of each phrase."""
SEEN_MIN = 3.0
"""A cue that fewer texts have is left out of the file."""
DIGITS = 2
WEIGHT_MIN = 0.005
FOLDS = 5

Labelled = tuple[str, str]


def by_hand(path: Path = BY_HAND) -> list[Labelled]:
    """The sentences as (type, text)."""
    return [(kind, line) for kind, line in _lines(path)]


def filled(path: Path = PATTERNS) -> list[Labelled]:
    """Sentences made of the phrases as (type, text); which words fill a place is a function of the phrase."""
    parts: dict[str, list[str]] = {}
    for kind, line in _lines(path):
        parts.setdefault(kind, []).extend(part.strip() for part in line.split(" | "))
    things, times = parts.pop("things"), parts.pop("when")
    made = []
    for kind, phrases in parts.items():
        for phrase in phrases:
            for number in range(FILLINGS):
                draw = crc32(f"{phrase}{number}".encode())
                text = phrase.replace("{t}", things[draw % len(things)])
                made.append((kind, text.replace("{c}", times[(draw >> 8) % len(times)])))
    return made


def _lines(path: Path) -> Iterator[Labelled]:
    kind = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("["):
            kind = text[1:-1]
        elif text and not text.startswith("#"):
            yield kind, text


def judged(model: KindModel, texts: Sequence[Labelled]) -> tuple[int, int, int]:
    """How many are right, how many are answered at all, and how many of those are right."""
    reader, right, answered, good = model.reader(), 0, 0, 0
    for kind, text in texts:
        guess = reader.guess(read(text))
        right += guess.best == kind
        answered += guess.confidence >= CONFIDENCE_MIN
        good += guess.kind == kind
    return right, answered, good


def held_out(hand: Sequence[Labelled], made: Sequence[Labelled]) -> tuple[int, int, int]:
    """The same over the folds, each learned from everything but itself."""
    total = (0, 0, 0)
    for fold in range(FOLDS):
        inside = [crc32(text.encode()) % FOLDS == fold for _, text in hand]
        train = [one for one, out in zip(hand, inside, strict=True) if not out]
        test = [one for one, out in zip(hand, inside, strict=True) if out]
        found = judged(pruned(learn_kinds([*made, *train])), test)
        total = (total[0] + found[0], total[1] + found[1], total[2] + found[2])
    return total


def pruned(model: KindModel) -> KindModel:
    """As it is kept: without cues that hardly any text has, in few digits."""
    seen = {key: number for key, number in sorted(model.seen.items()) if number >= SEEN_MIN}
    weights = {
        kind: {key: round(value, DIGITS) for key, value in sorted(table.items()) if key in seen and value >= WEIGHT_MIN}
        for kind, table in sorted(model.weights.items())
    }
    return KindModel(weights=weights, texts=dict(sorted(model.texts.items())), seen=seen)


def said(name: str, found: tuple[int, int, int], number: int) -> str:
    """One line of figures."""
    right, answered, good = found
    sure = (
        f"{answered / number:.1%} answered at {CONFIDENCE_MIN:.0%} sure, {good / max(1, answered):.1%} of those right"
    )
    return f"{name:44} {right / number:.1%} right; {sure}"


def main() -> int:
    """Print the figures and write the file; with --check only say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the file is another")
    check = parser.parse_args().check
    hand, made = by_hand(), filled()
    text = msgspec.json.encode(pruned(learn_kinds([*made, *hand]))) + b"\n"
    if check:
        return int(WEIGHTS.read_bytes() != text)
    print(f"{len({kind for kind, _ in hand})} types, {len(hand)} sentences by hand, {len(made)} made of phrases")
    print(said("phrases alone, on all sentences by hand", judged(pruned(learn_kinds(made)), hand), len(hand)))
    print(said(f"both, each of {FOLDS} parts held out in turn", held_out(hand, made), len(hand)))
    WEIGHTS.write_bytes(text)
    print(f"{WEIGHTS.relative_to(ROOT)}: {len(text) // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
