"""Money is exact: rounding never under-charges, sums of many small charges stay what they are."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.money import micro_usd, tokens_cost_micro_usd, usd_text

TOKENS = st.integers(0, 10**10)
PRICES = st.one_of(
    st.sampled_from([0.0, 0.1, 0.3, 3.0, 15.0, 1.75]),
    st.floats(0, 1_000, allow_nan=False, allow_subnormal=False),
)
AMOUNTS = st.integers(-(10**12), 10**12)


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (0, 0),
        ("0.10", 100_000),
        (0.1, 100_000),
        (20.00, 20_000_000),
        ("0.0000005", 1),
        ("0.00000049", 0),
        (Decimal("1e-6"), 1),
        ("-1.5", -1_500_000),
    ],
)
def test_dollars_become_micro_dollars_half_up(usd: float | str | Decimal, expected: int) -> None:
    """As a person wrote them: 0.1 is ten cents, not what a float makes of it."""
    assert micro_usd(usd) == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (130, "$0.00013"),
        (9_999, "$0.009999"),
        (10_000, "$0.01"),
        (1_500_000, "$1.50"),
        (20_000_000, "$20.00"),
        (1_234_567_890, "$1234.57"),
    ],
)
def test_a_person_reads_cents_or_as_many_digits_as_it_takes(amount: int, text: str) -> None:
    """A small charge is never shown as nothing."""
    assert usd_text(amount) == text


@given(AMOUNTS)
def test_a_text_is_nothing_exactly_when_the_amount_is(amount: int) -> None:
    """And never off by more than half a cent."""
    shown = Fraction(usd_text(amount).replace("$", ""))

    assert (shown == 0) == (amount == 0)
    assert abs(shown - Fraction(amount, 1_000_000)) <= Fraction(1, 200)


@given(st.integers(-(10**12), 10**12))
def test_whole_micro_dollars_survive_the_way_through_dollars(amount: int) -> None:
    """What was written exactly is read exactly."""
    assert micro_usd(Decimal(amount) / 1_000_000) == amount


def exact(tokens: int, usd_per_million: float) -> Fraction:
    """Micro-dollars without any rounding: the price as it is written, times the tokens."""
    return Fraction(Decimal(str(usd_per_million))) * tokens


@given(TOKENS, PRICES)
def test_a_charge_is_never_below_the_price_and_never_a_whole_micro_dollar_above(tokens: int, price: float) -> None:
    """Rounded up, once."""
    charged = tokens_cost_micro_usd(tokens, price)

    assert 0 <= charged - exact(tokens, price) < 1
    assert (charged == 0) == (tokens == 0 or price == 0)


@given(st.lists(TOKENS, max_size=20), PRICES)
def test_the_sum_of_charges_covers_the_charge_of_the_sum(parts: list[int], price: float) -> None:
    """Splitting work into calls cannot make it cheaper in the books, and costs at most a micro-dollar a call."""
    together = tokens_cost_micro_usd(sum(parts), price)
    apart = sum(tokens_cost_micro_usd(tokens, price) for tokens in parts)

    assert together <= apart <= together + len(parts)


@given(TOKENS, st.integers(0, 10**6), PRICES)
def test_more_tokens_never_cost_less(tokens: int, more: int, price: float) -> None:
    """Monotone, so that a cap that holds for an estimate holds for all below it."""
    assert tokens_cost_micro_usd(tokens + more, price) >= tokens_cost_micro_usd(tokens, price)
