"""A text as numbers: hashed words, word pairs and 3-5-character grams, and 22 counts. Nothing is downloaded.

Grams fall into `BUCKETS` by CRC-32, the same on every machine. A long text is looked at up to `CHARACTERS_MAX`
characters of it: the beginning and the end. About a third of a millisecond for a question of two hundred characters.
"""

import re
from itertools import pairwise
from math import log1p
from zlib import crc32

BUCKETS = 1 << 16
CHARACTERS_MAX = 4_000
_END_CHARACTERS = 1_000
_PIECES = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_WORDS = re.compile(r"[a-z']+")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_SENTENCES = re.compile(r"[.!?]+")
_OPTIONS = re.compile(r"(?m)^\s*\(?[A-Ea-e][).:]\s")
_SYMBOLS = frozenset("+-*/=<>^\\{}")
_NEGATIONS = frozenset({"not", "no", "never", "except", "without", "none"})
_AMOUNTS = "each|every|per|total|half|twice|times|percent|more|less|than|remaining|left|average|double|third|quarter"
_QUANTITIES = frozenset(_AMOUNTS.split("|"))
_ASKING = frozenset({"if", "how", "many", "much"})
_CODE = ("def ", "return", "import ", "class ")
_LONGEST_NUMBER = 12
_BEGINNINGS = (4, 5)
_STEM = 5


def seen_part(text: str) -> str:
    """What of a long text is looked at."""
    if len(text) <= CHARACTERS_MAX:
        return text
    return f"{text[: CHARACTERS_MAX - _END_CHARACTERS]}\n{text[-_END_CHARACTERS:]}"


def grams(text: str) -> dict[int, int]:
    """How often each bucket is hit."""
    lower = seen_part(text).lower()
    pieces = _PIECES.findall(lower)
    found: dict[int, int] = {}
    for piece in pieces:
        key = crc32(piece.encode()) % BUCKETS
        found[key] = found.get(key, 0) + 1
    for first, second in pairwise(pieces):
        key = crc32(f"{first} {second}".encode(), 1) % BUCKETS
        found[key] = found.get(key, 0) + 1
    flat = " ".join(lower.split()).encode()
    for size in (3, 4, 5):
        for start in range(len(flat) - size + 1):
            key = crc32(flat[start : start + size], size) % BUCKETS
            found[key] = found.get(key, 0) + 1
    return found


def cues(text: str) -> dict[int, int]:
    """What tells the kind of a text, as buckets: words and their beginnings, pairs of beginnings, how it opens.

    A quarter of what `grams` costs, and better at kinds: these hang on what is asked for, not on spelling.
    """
    pieces = _PIECES.findall(seen_part(text).lower())
    found: dict[int, int] = {}

    def add(cue: str) -> None:
        key = crc32(cue.encode()) % BUCKETS
        found[key] = found.get(key, 0) + 1

    for piece in pieces:
        add(piece)
        for length in _BEGINNINGS:
            if len(piece) > length:
                add(f"{piece[:length]}-")
    for first, second in pairwise(pieces):
        add(f"{first[:_STEM]} {second[:_STEM]}")
    add(f"^ {' '.join(pieces[:1])}")
    add(f"^ {' '.join(pieces[:2])}")
    return found


def counts(text: str) -> tuple[float, ...]:
    """22 figures of about the same size: length, numbers, symbols, code, options, negations, quantity words, ..."""
    text = seen_part(text)
    words = _WORDS.findall(text.lower())
    numbers = _NUMBERS.findall(text)
    sentences = sum(1 for part in _SENTENCES.split(text) if part.strip()) or 1
    largest = max((float(number) for number in numbers if len(number) < _LONGEST_NUMBER), default=0.0)
    some_words = max(1, len(words))
    return (
        log1p(len(text)),
        log1p(len(words)),
        log1p(sentences),
        len(words) / sentences / 20.0,
        sum(map(len, words)) / some_words / 5.0,
        log1p(len(numbers)),
        log1p(len(set(numbers))),
        log1p(largest) / 5.0,
        sum("." in number for number in numbers) / 3.0,
        text.count("%") / 2.0,
        text.count("$") / 3.0,
        log1p(text.count("\n")),
        log1p(sum(character in _SYMBOLS for character in text)),
        float(any(sign in text for sign in _CODE)),
        float("```" in text),
        len(_OPTIONS.findall(text)) / 5.0,
        sum(word in _NEGATIONS for word in words) / 2.0,
        log1p(sum(word in _QUANTITIES for word in words)),
        float(text.count("?")),
        text.count(",") / 5.0,
        sum(word in _ASKING for word in words) / 3.0,
        len(set(words)) / some_words,
    )
