"""Playing one input against one reader: it ends in a value or in an error of the house, soon, and without much memory.

An error of the house (`OstlerError`, or what a target names beside it) says what is wrong; one that a person reads
without the input at hand says where and what to do too. Whatever else is raised is a crash.
"""

import time
import tracemalloc
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.errors import OstlerError, ProfileError
from tests.fuzz.mutate import EXTRA_BYTES, GROWTH, Mutator

INPUT_S_MAX = 2.0
"""Time of the processor for one input; the largest that are made take a few hundredths."""
MEMORY_PER_BYTE = 400
"""How many times the length of an input may be taken for reading it, ..."""
MEMORY_BYTES = 16 * 1024 * 1024
"""... and what any may take. A pointer and an object for each `[` are 100 bytes."""


class Crash(AssertionError):
    """An input that ended in another way."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Something that reads. `errors`: what it may raise beside `OstlerError`; `remedied`: each says what to do."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutator
    errors: tuple[type[Exception], ...] = ()
    remedied: bool = False
    share: float = 1.0
    """Of the inputs that others get."""


def mutant(target: Target, seeds: Sequence[bytes], number: int) -> bytes:
    """An input by its number; the first ones are the good inputs themselves."""
    if number < len(seeds):
        return seeds[number]
    random = Random(f"{target.name} {number}")
    data = random.choice(seeds)
    if random.random() < 0.1:
        other = random.choice(seeds)
        data = data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
    return target.mutate(data, random)[: max(map(len, seeds)) * GROWTH + EXTRA_BYTES]


def play(target: Target, data: bytes, *, measured: bool = False) -> None:
    """Read one input. Raises `Crash`. `measured`: the memory that it takes is looked at too, which takes time."""
    if measured:
        tracemalloc.start()
    begun = time.process_time()
    try:
        target.read(data)
    except OstlerError as error:
        _check(target, error)
    except Exception as error:
        if not isinstance(error, target.errors):
            raise Crash(f"{target.name}: {type(error).__name__}: {error}") from error
        _check(target, error)
    finally:
        taken_s = time.process_time() - begun
        peak = tracemalloc.get_traced_memory()[1] if measured else 0
        if measured:
            tracemalloc.stop()
    if taken_s > INPUT_S_MAX * (4 if measured else 1):
        raise Crash(f"{target.name}: {len(data)} bytes took {taken_s:.1f} s")
    if peak > MEMORY_BYTES + MEMORY_PER_BYTE * len(data):
        raise Crash(f"{target.name}: {len(data)} bytes took {peak / 1e6:.0f} MB")


def _check(target: Target, error: Exception) -> None:
    """An error says what is wrong, in one line that is not the repetition of a huge input."""
    problems = error.problems if isinstance(error, ProfileError) else (error,)
    for problem in problems:
        text = str(problem)
        if not text.strip() and isinstance(problem, OstlerError | CallError):
            raise Crash(f"{target.name}: an error without a word: {error!r}")
        if (
            target.remedied
            and isinstance(problem, OstlerError)
            and not (problem.where and (problem.remedy or "expected" in problem.what))
        ):
            raise Crash(f"{target.name}: no place, or neither remedy nor what is expected: {text[:200]}")


def shrunk(target: Target, data: bytes, patience: int = 400) -> bytes:
    """A shorter input that crashes too: stretches are left out as long as it does."""
    size = max(1, len(data) // 2)
    while size and patience:
        at = 0
        while at < len(data) and patience:
            patience -= 1
            less = data[:at] + data[at + size :]
            try:
                play(target, less)
                at += size
            except Crash:
                data = less
        size //= 2
    return data
