"""How hard a task is and what kind of work it is: two answers from the same words and counts.

Complexity, first rule that applies:

1. no words, no files, no checks: unknown, confidence 0;
2. a word of hard work: complex, 0.7 and 0.1 more for each of files > 3, checks > 3, words > 50;
3. a word of trivial work, at most 3 files and 3 checks: trivial, 0.9 below 10 words, else 0.75;
4. the vote of the three counts. A tie goes to standard, then complex. The confidence is the share of equal votes.
   A trivial outcome without a trivial word is raised to standard: shortness alone makes nothing trivial.

Type, first rule that applies:

1. as stated;
2. what texts of known types teach (`learning.kinds`), with the keywords as prior: each found one makes its kind
   `KEYWORD_ODDS` times as likely. Taken from a confidence of `TYPE_CONFIDENCE` on. The kind that the keywords name is
   remembered beside it: rules of the profile hold for that one;
3. the kind of which most keywords occur (each counts once); a tie goes to the kind with the higher minimum tier, then
   by name;
4. nobody knows: the default kind, with source `none`.

The heuristic runs whatever was stated, so that a disagreement can be shown: `Classification.confidence` is always that
of the heuristic's answer about complexity.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ostler.domain.tasks import Classification, Complexity, TaskSpec
from ostler.learning.kinds import Guess, Reader, read
from ostler.routing import phrases
from ostler.routing.keywords import KEYWORDS, Keywords

WORDS_STANDARD = 10
"""From so many words on a text votes for standard."""
WORDS_COMPLEX = 50
"""Above so many words it votes for complex."""
COUNT_STANDARD = 3
"""Up to so many files or checks vote for standard, more for complex, none for trivial."""


TYPE_CONFIDENCE = 0.6
"""A type that was learned is taken from so sure on."""
KEYWORD_ODDS = 2.0
"""A keyword of a kind makes it so many times as likely."""


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


class _Kind(msgspec.Struct, frozen=True):
    """The kind of work, and where the answer comes from."""

    name: str
    source: str
    signals: tuple[str, ...] = ()
    sure: float = 0.0
    named: str = ""


def classify(
    spec: TaskSpec,
    *,
    type_ranks: Mapping[str, int] | None = None,
    keywords: Keywords = KEYWORDS,
    reader: Reader | None = None,
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
    ranked = _ranked(text_words, tables, type_ranks)
    kind = _task_type(spec.task_type, text, ranked, keywords.default_type, reader)
    complexity, source = inferred, "heuristic"
    if spec.complexity not in (None, Complexity.UNKNOWN):
        complexity, source = spec.complexity, "explicit"
        signals = (*signals, f"stated: {complexity}; the heuristic says {inferred} ({confidence:.2f})")
    elif inferred is Complexity.UNKNOWN:
        source = "none"
    return Classification(
        complexity=complexity,
        inferred_complexity=inferred,
        task_type=kind.name,
        source=source,
        type_source=kind.source,
        type_confidence=kind.sure,
        named_type=kind.named,
        confidence=confidence,
        word_count=evidence.words,
        file_count=evidence.files,
        verification_steps=evidence.checks,
        signals=(*signals, *kind.signals),
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


def _ranked(
    text_words: phrases.Words, tables: _Tables, type_ranks: Mapping[str, int] | None
) -> list[tuple[str, tuple[str, ...]]]:
    """Kinds of which keywords occur, the first one first, with the keywords."""
    ranked = []
    for name, floor, table in tables.types:
        found = phrases.find(text_words, table)
        if found:
            rank = floor if type_ranks is None else type_ranks.get(name, 0)
            ranked.append((-len(found), -rank, name, found))
    return [(name, found) for _, _, name, found in sorted(ranked)]


def _task_type(
    stated: str | None, text: str, ranked: list[tuple[str, tuple[str, ...]]], default: str, reader: Reader | None
) -> _Kind:
    signals = tuple(f"{name} words: {', '.join(found)}" for name, found in ranked)
    if stated:
        return _Kind(stated, "explicit", signals)
    named = ranked[0][0] if ranked else ""
    guess = _read(text, ranked, reader)
    if guess is not None and guess.confidence >= TYPE_CONFIDENCE:
        return _Kind(guess.best, "learned", signals, guess.confidence, named)
    sure = guess.confidence if guess is not None else 0.0
    if guess is not None:
        unsure = f"texts like it: {guess.best}, {sure:.0%} sure, too little to go by"
        signals = (*signals, unsure)
    return _Kind(named, "heuristic", signals, sure) if named else _Kind(default, "none", signals, sure)


def _read(text: str, ranked: list[tuple[str, tuple[str, ...]]], reader: Reader | None) -> Guess | None:
    """What texts of known types teach of this one; `None` where there is nothing to read or nobody to read it."""
    if reader is None or not text.strip():
        return None
    chances = reader.chances(read(text), odds={name: KEYWORD_ODDS ** len(found) for name, found in ranked})
    if not chances:
        return None
    best = min(chances, key=lambda kind: (-chances[kind], kind))
    return Guess(best, round(chances[best], 4), best)
