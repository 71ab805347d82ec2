"""How long an answer will be, for what is reserved: a quantile of what was seen, not the client's `max_tokens`.

Lengths are counted in bins a quarter of a power of two wide, so a table is small, mergeable and exact to 19 % upward:
an estimate is the upper edge of a bin. The quantile is the conformal one: of n lengths seen, the one at rank
ceil((n + 1) x q). If lengths to come are like those seen, an answer is longer than the estimate with probability at
most 1 - q, whatever their distribution. While n is too small for that rank to exist, the policy's default stands, or
the longest seen when that is longer.
"""

from collections.abc import Iterable, Mapping
from math import ceil, log2

import msgspec

_BINS_PER_DOUBLING = 4
_PERCENT = 100


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """How often answers of each length were seen, by bin."""

    counts: Mapping[int, int] = {}

    @property
    def samples(self) -> int:
        """How many answers that is."""
        return sum(self.counts.values())


def seen(lengths: Lengths, output_tokens: int) -> Lengths:
    """The table with one answer more."""
    key = _bin(output_tokens)
    return Lengths(counts={**lengths.counts, key: lengths.counts.get(key, 0) + 1})


def gathered(answers: Iterable[int]) -> Lengths:
    """The table of these answers."""
    counts: dict[int, int] = {}
    for output_tokens in answers:
        key = _bin(output_tokens)
        counts[key] = counts.get(key, 0) + 1
    return Lengths(counts=counts)


def is_enough(lengths: Lengths, *, quantile_percent: int) -> bool:
    """Whether so many were seen that the quantile is one of them.

    >>> is_enough(gathered([100] * 8), quantile_percent=90), is_enough(gathered([100] * 9), quantile_percent=90)
    (False, True)
    """
    samples = lengths.samples
    return 0 < ceil((samples + 1) * quantile_percent / _PERCENT) <= samples


def expected_output(lengths: Lengths, default_tokens: int, *, quantile_percent: int, at_most: int | None = None) -> int:
    """Tokens of output to reserve for.

    >>> expected_output(gathered([100] * 99), 400, quantile_percent=90)
    108
    """
    samples = lengths.samples
    rank = ceil((samples + 1) * quantile_percent / _PERCENT)
    if rank > samples:
        longest = max(map(_upper_edge, lengths.counts), default=0)
        found = max(default_tokens, longest)
    else:
        found = _at_rank(lengths, rank)
    return found if at_most is None else min(found, at_most)


def _at_rank(lengths: Lengths, rank: int) -> int:
    below = 0
    for key in sorted(lengths.counts):
        below += lengths.counts[key]
        if below >= rank:
            return _upper_edge(key)
    return 0


def _bin(output_tokens: int) -> int:
    return 0 if output_tokens <= 1 else ceil(log2(output_tokens) * _BINS_PER_DOUBLING)


def _upper_edge(key: int) -> int:
    return ceil(2 ** (key / _BINS_PER_DOUBLING))
