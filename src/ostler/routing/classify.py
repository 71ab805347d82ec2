"""How hard a task is and what kind of work it is: two answers from the same words and counts.

Complexity, first rule that applies:

1. no words, no files, no checks: unknown, confidence 0;
2. a word of hard work: complex, 0.7 and 0.1 more for each of files > 3, checks > 3, words > 50;
3. a word of trivial work, at most 3 files and 3 checks: trivial, 0.9 below 10 words, else 0.75;
4. the vote of the three counts. A tie goes to standard, then complex. The confidence is the share of equal votes.
   A trivial outcome without a trivial word is raised to standard: shortness alone makes nothing trivial.

Type: the kind of which most keywords occur (each counts once); a tie goes to the kind with the higher minimum tier,
then by name. An explicit answer wins; the heuristic runs all the same, so that a disagreement can be shown:
`Classification.confidence` is always that of the heuristic's answer.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ostler.domain.tasks import Classification, Complexity, TaskSpec
from ostler.routing import phrases
from ostler.routing.keywords import KEYWORDS, Keywords

WORDS_STANDARD = 10
"""From so many words on a text votes for standard."""
WORDS_COMPLEX = 50
"""Above so many words it votes for complex."""
COUNT_STANDARD = 3
"""Up to so many files or checks vote for standard, more for complex, none for trivial."""


class _Tables(msgspec.Struct, frozen=True):
    complex: phrases.Index
    trivial: phrases.Index
    types: tuple[tuple[str, int, phrases.Index], ...]


class _Evidence(msgspec.Struct, frozen=True):
    words: int
    files: int
    checks: int
    complex: tuple[str, ...]
    trivial: tuple[str, ...]


@lru_cache(maxsize=8)
def _tables(keywords: Keywords) -> _Tables:
    return _Tables(
        phrases.index(keywords.complex),
        phrases.index(keywords.trivial),
        tuple((kind.name, kind.floor, phrases.index(kind.words)) for kind in keywords.types),
    )


def classify(
    spec: TaskSpec, *, type_ranks: Mapping[str, int] | None = None, keywords: Keywords = KEYWORDS
) -> Classification:
    """Classify a task by its title and prompt, file hints and verification commands.

    `type_ranks` orders types by the policy's minimum tiers, for ties; a type it does not name has no minimum. Without
    it the floors of the tables decide.
    """
    text = spec.prompt if spec.title in spec.prompt else f"{spec.title}\n{spec.prompt}"
    text_words = phrases.words(text)
    tables = _tables(keywords)
    evidence = _Evidence(
        len(text.split()),
        len(spec.file_hints),
        len(spec.verify),
        phrases.find(text_words, tables.complex),
        phrases.find(text_words, tables.trivial),
    )
    inferred, confidence, signals = _complexity(evidence)
    kind, type_source, type_signals = _task_type(spec.task_type, text_words, tables, type_ranks, keywords.default_type)
    complexity, source = inferred, "heuristic"
    if spec.complexity not in (None, Complexity.UNKNOWN):
        complexity, source = spec.complexity, "explicit"
        signals = (*signals, f"stated: {complexity}; the heuristic says {inferred} ({confidence:.2f})")
    elif inferred is Complexity.UNKNOWN:
        source = "none"
    return Classification(
        complexity=complexity,
        inferred_complexity=inferred,
        task_type=kind,
        source=source,
        type_source=type_source,
        confidence=confidence,
        word_count=evidence.words,
        file_count=evidence.files,
        verification_steps=evidence.checks,
        signals=(*signals, *type_signals),
    )


def _complexity(seen: _Evidence) -> tuple[Complexity, float, tuple[str, ...]]:
    """The heuristic's answer, its confidence, and what decided."""
    if not (seen.words or seen.files or seen.checks):
        return Complexity.UNKNOWN, 0.0, ("nothing to go by",)
    if seen.complex:
        support = (seen.files > COUNT_STANDARD) + (seen.checks > COUNT_STANDARD) + (seen.words > WORDS_COMPLEX)
        return Complexity.COMPLEX, round(0.7 + 0.1 * support, 2), (f"complex words: {', '.join(seen.complex)}",)
    trivial_signal = f"trivial words: {', '.join(seen.trivial)}"
    if seen.trivial and seen.files <= COUNT_STANDARD and seen.checks <= COUNT_STANDARD:
        confidence = 0.9 if seen.words < WORDS_STANDARD else 0.75
        return Complexity.TRIVIAL, confidence, (trivial_signal,)
    winner, confidence, signals = _vote(seen)
    if seen.trivial:
        return winner, confidence, (trivial_signal, *signals)
    if winner is Complexity.TRIVIAL:
        return Complexity.STANDARD, confidence, (*signals, "raised from trivial: shortness alone is no sign")
    return winner, confidence, signals


def _vote(seen: _Evidence) -> tuple[Complexity, float, tuple[str, ...]]:
    if seen.words < WORDS_STANDARD:
        by_words = Complexity.TRIVIAL
    else:
        by_words = Complexity.COMPLEX if seen.words > WORDS_COMPLEX else Complexity.STANDARD
    votes = (by_words, _vote_of_count(seen.files), _vote_of_count(seen.checks))
    preference = (Complexity.STANDARD, Complexity.COMPLEX, Complexity.TRIVIAL)
    winner = max(preference, key=votes.count)
    counts = (("words", seen.words), ("files", seen.files), ("checks", seen.checks))
    signals = tuple(f"{count} {name}: {vote}" for (name, count), vote in zip(counts, votes, strict=True))
    return winner, round(votes.count(winner) / len(votes), 2), signals


def _vote_of_count(count: int) -> Complexity:
    if count == 0:
        return Complexity.TRIVIAL
    return Complexity.STANDARD if count <= COUNT_STANDARD else Complexity.COMPLEX


def _task_type(
    stated: str | None, text_words: phrases.Words, tables: _Tables, type_ranks: Mapping[str, int] | None, default: str
) -> tuple[str, str, tuple[str, ...]]:
    """The kind of work, where the answer comes from, and the words it was found by."""
    ranked = []
    for name, floor, table in tables.types:
        found = phrases.find(text_words, table)
        if found:
            rank = floor if type_ranks is None else type_ranks.get(name, 0)
            ranked.append((-len(found), -rank, name, found))
    ranked.sort()
    signals = tuple(f"{name} words: {', '.join(found)}" for _, _, name, found in ranked)
    if stated:
        return stated, "explicit", signals
    if ranked:
        return ranked[0][2], "heuristic", signals
    return default, "none", signals
