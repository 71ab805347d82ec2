"""What work that cost nothing more would have cost elsewhere: the saving, with the counterfactual named.

The other place is a model the user could have called instead: the one the profile names, else the cheapest that has a
known price. The tokens are those that were really counted, with caches taken as fresh input, because the other place
would have had none of them; that it would have answered at the same length is the assumption, and the name says so.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ostler.budget.prices import PriceBook, cost_micro_usd
from ostler.domain.ledger import Amount

_SAMPLE = Amount(input_tokens=3_000, output_tokens=1_000)
"""What models are compared on: three tokens read for one written."""


class Equivalent(NamedTuple):
    """The saving of one attempt."""

    micro_usd: int
    of: str
    """The model it is reckoned with; empty = none has a price."""


def cheapest(book: PriceBook, places: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Of (provider, model) pairs the cheapest with a known price; ties by name."""
    priced = [
        (cost_micro_usd(quote.price, _SAMPLE), provider, model)
        for provider, model in places
        if (quote := book.known(provider, model)) is not None
    ]
    return min(priced)[1:] if priced else None


def equivalent(book: PriceBook, place: tuple[str, str] | None, amount: Amount) -> Equivalent:
    """What an amount would have cost at a place."""
    quote = book.known(*place) if place is not None else None
    if place is None or quote is None:
        return Equivalent(0, "")
    fresh = amount.input_tokens + amount.cache_read_tokens + amount.cache_write_tokens
    bare = Amount(input_tokens=fresh, output_tokens=amount.output_tokens, requests=amount.requests)
    return Equivalent(cost_micro_usd(quote.price, bare), f"{place[0]}/{place[1]}")
