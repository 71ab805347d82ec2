"""Tokens to micro-dollars: exact, rounded up once, and never free because nobody knows the price."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.equivalent import Equivalent, cheapest, equivalent
from ostler.budget.prices import PriceBook, PricedModel, PriceTable, basis_of, cost_micro_usd
from ostler.domain.ledger import Amount, Basis
from ostler.domain.limits import LongPrice, Price, UnknownPrice
from tests.budget.made import AMOUNTS

SONNET = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)
LONG = Price(input=1.25, output=10.0, cache_read=0.125, long=(LongPrice(above_tokens=200_000, input=2.5, output=15.0),))
TABLE = PriceTable(
    dated="2026-11-29",
    source="a test",
    providers={
        "anthropic": {
            "claude-sonnet-4": PricedModel(price=SONNET, aliases=("claude-sonnet-latest",)),
            "claude": PricedModel(price=Price(input=1.0, output=1.0)),
        },
        "openai": {"gpt-5": PricedModel(price=LONG)},
    },
)
DEAREST = Price(input=15.0, output=75.0)


def book(own: dict[str, Price] | None = None, unknown: UnknownPrice = UnknownPrice.CONSERVATIVE) -> PriceBook:
    return PriceBook(TABLE, own, unknown=unknown, conservative=DEAREST)


@pytest.mark.parametrize(
    ("price", "amount", "micro_usd"),
    [
        (SONNET, Amount(input_tokens=1_000_000, output_tokens=1_000_000), 18_000_000),
        (SONNET, Amount(input_tokens=1), 3),
        (SONNET, Amount(cache_read_tokens=1), 1),
        (SONNET, Amount(cache_read_tokens=10), 3),
        (SONNET, Amount(cache_read_tokens=1, cache_write_tokens=1), 5),
        (SONNET, Amount(output_tokens=10, reasoning_tokens=4), 150),
        (Price(input=0, output=10.0, reasoning=3.0), Amount(output_tokens=10, reasoning_tokens=4), 72),
        (Price(input=0, output=10.0, reasoning=3.0), Amount(output_tokens=1, reasoning_tokens=4), 3),
        (Price(input=2.0, output=1.0), Amount(cache_read_tokens=1, cache_write_tokens=2), 6),
        (Price(input=0, output=0, request_usd=0.005), Amount(requests=2), 10_000),
        (Price(input=0.1, output=0.1), Amount(input_tokens=1, output_tokens=1), 1),
        (SONNET, Amount(), 0),
    ],
)
def test_what_tokens_cost(price: Price, amount: Amount, micro_usd: int) -> None:
    """Each kind at its price; a kind without one at that of fresh input, or of output; rounded up over all of them."""
    assert cost_micro_usd(price, amount) == micro_usd


def test_a_long_prompt_is_dearer_as_a_whole() -> None:
    """Above the mark, caches included in the length, the whole call is at the other price; at it, it is not."""
    at_mark = Amount(input_tokens=150_000, cache_read_tokens=50_000)
    above = Amount(input_tokens=150_000, cache_read_tokens=50_001, output_tokens=10)

    assert cost_micro_usd(LONG, at_mark) == 187_500 + 6_250
    assert cost_micro_usd(LONG, above) == 375_000 + 6_251 + 150


def test_a_step_to_a_price_of_nothing_is_a_step() -> None:
    """A price of 0 is a price, not one that was left out."""
    price = Price(input=1.0, output=1.0, long=(LongPrice(above_tokens=10, input=0.0),))

    assert cost_micro_usd(price, Amount(input_tokens=11, output_tokens=5)) == 5


def test_a_batch_costs_its_share() -> None:
    """Where a model has one."""
    price = Price(input=3.0, output=15.0, batch_percent=50)

    assert cost_micro_usd(price, Amount(input_tokens=1001), batch=True) == 1502
    assert cost_micro_usd(price, Amount(input_tokens=1001)) == 3003


@given(AMOUNTS, st.decimals(0, 100, places=3), st.decimals(0, 100, places=3))
def test_a_cost_is_the_exact_one_rounded_up(amount: Amount, usd_in: object, usd_out: object) -> None:
    """Less than a micro-dollar above the true sum, never below: reckoned apart, in fractions."""
    price = Price(input=float(str(usd_in)), output=float(str(usd_out)))
    read = amount.input_tokens + amount.cache_read_tokens + amount.cache_write_tokens
    exact = Fraction(str(usd_in)) * read + Fraction(str(usd_out)) * amount.output_tokens

    assert cost_micro_usd(price, amount) == ceil(exact)


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("anthropic", "claude-sonnet-4", "table anthropic/claude-sonnet-4"),
        ("anthropic", "claude-sonnet-4-20260101", "table anthropic/claude-sonnet-4"),
        ("anthropic", "claude-sonnet-4:latest", "table anthropic/claude-sonnet-4"),
        ("anthropic", "claude-sonnet-latest", "table anthropic/claude-sonnet-latest"),
        ("anthropic", "claude-sonnet-40", "table anthropic/claude"),
        ("anthropic", "anthropic/claude-sonnet-4", "table anthropic/claude-sonnet-4"),
        ("openai", "gpt-5.2", "table openai/gpt-5"),
        ("openrouter", "openai/gpt-5.2", "table openai/gpt-5"),
        ("openai", "gpt-50", "conservative gpt-50"),
        ("anthropic", "gpt-5", "conservative gpt-5"),
        ("mine", "own", "profile own"),
        ("openai", "own", "profile own"),
    ],
)
def test_where_a_price_is_found(provider: str, model: str, found: str) -> None:
    """The user's own first, then the exact name, then the longest name it begins with, whole words only."""
    quote = book({"own": Price(input=1, output=1)}).quote(provider, model)

    assert quote is not None
    assert f"{quote.source} {quote.name}" == found


def test_the_users_price_goes_before_the_table() -> None:
    """Also for a model that the table knows."""
    quote = book({"gpt-5": Price(input=0.0, output=0.0)}).quote("openai", "gpt-5")

    assert quote is not None
    assert (quote.source, quote.price.input, basis_of(quote)) == ("profile", 0.0, Basis.PRICED)


def test_an_unknown_price_is_never_zero() -> None:
    """It is the conservative one, and says so, or there is none and the work is refused."""
    quote = book().quote("acme", "mystery")

    assert quote is not None
    assert (quote.price, quote.is_known, basis_of(quote)) == (DEAREST, False, Basis.UNKNOWN)
    assert basis_of(quote, estimated=True) is Basis.UNKNOWN
    assert book().known("acme", "mystery") is None
    assert book(unknown=UnknownPrice.REFUSE).quote("acme", "mystery") is None
    known = book(unknown=UnknownPrice.REFUSE).quote("openai", "gpt-5")
    assert known is not None
    assert basis_of(known, estimated=True) is Basis.ESTIMATED


def test_the_saving_of_local_work_names_what_it_is_reckoned_with() -> None:
    """All input as fresh, because the other place would have had no cache of it."""
    amount = Amount(input_tokens=100, cache_read_tokens=900, output_tokens=100, reasoning_tokens=50)

    assert equivalent(book(), ("anthropic", "claude-sonnet-4"), amount) == Equivalent(
        4_500, "anthropic/claude-sonnet-4"
    )
    assert equivalent(book(), None, amount) == Equivalent(0, "")
    assert equivalent(book(), ("acme", "mystery"), amount) == Equivalent(0, ""), "a guess is no saving"


def test_the_cheapest_place_has_a_known_price() -> None:
    """What nobody knows the price of is not cheap."""
    places = [("anthropic", "claude-sonnet-4"), ("openai", "gpt-5"), ("acme", "mystery")]

    assert cheapest(book(), places) == ("openai", "gpt-5")
    assert cheapest(book(), [("acme", "mystery")]) is None
