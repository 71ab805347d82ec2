"""Money in integer micro-dollars: sums of millions of calls stay exact, which floats do not."""

from decimal import ROUND_HALF_UP, Decimal

MICRO_USD_PER_USD = 1_000_000
TOKENS_PER_PRICE_UNIT = 1_000_000
"""Prices are given in USD for a million tokens, as all providers publish them."""


def micro_usd(usd: float | str | Decimal) -> int:
    """Dollars as written by a person, to micro-dollars, half up.

    >>> micro_usd("0.10"), micro_usd(20.00)
    (100000, 20000000)
    """
    return int((Decimal(str(usd)) * MICRO_USD_PER_USD).to_integral_value(rounding=ROUND_HALF_UP))


def usd_text(amount_micro_usd: int) -> str:
    """Micro-dollars for a person: cents from one cent up, else as many digits as it takes.

    >>> usd_text(1_500_000), usd_text(0), usd_text(130)
    ('$1.50', '$0.00', '$0.00013')
    """
    value = Decimal(amount_micro_usd) / MICRO_USD_PER_USD
    if amount_micro_usd == 0 or abs(amount_micro_usd) >= MICRO_USD_PER_USD // 100:
        return f"${value:.2f}"
    return f"${value.normalize():f}"


def exact_usd_text(amount_micro_usd: int) -> str:
    """Micro-dollars for a person, to the last one: two digits at least, six at most.

    >>> exact_usd_text(1_500_000), exact_usd_text(10_484), exact_usd_text(0)
    ('$1.50', '$0.010484', '$0.00')
    """
    value = f"{Decimal(amount_micro_usd) / MICRO_USD_PER_USD:.6f}".rstrip("0")
    whole, _, rest = value.partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"


def tokens_cost_micro_usd(tokens: int, usd_per_million: float) -> int:
    """Cost of `tokens` at a price in USD for a million tokens, rounded up: never under-charged by rounding.

    >>> tokens_cost_micro_usd(1000, 3.0)
    3000
    """
    price = Decimal(str(usd_per_million)) * tokens
    whole = int(price)
    return whole + (1 if price > whole else 0)
