"""What an attempt cost, in micro-dollars, and on what that rests.

A model on the user's own machines costs nothing, nor does what a subscription covers. A model with a price costs its
tokens times that, each kind at its own price where it has one. Anything else is unknown, which is not the same as
nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ostler.budget.prices import cost_micro_usd
from ostler.budget.subscriptions import subscription_of
from ostler.domain.catalog import EndpointSpec, ModelSpec
from ostler.domain.ledger import Amount
from ostler.domain.limits import Subscription
from ostler.wire.talk import Tokens


class Cost(NamedTuple):
    """What an attempt cost."""

    micro_usd: int | None
    """`None` = nobody knows."""
    basis: str


UNKNOWN = Cost(None, "unknown")
_LOCAL = Cost(0, "local")
_SUBSCRIBED = Cost(0, "subscription")


def cost_of(
    tokens: Tokens, model: ModelSpec | None, spec: EndpointSpec, subscriptions: Sequence[Subscription] = ()
) -> Cost:
    """Cost and its basis (`local`, `subscription`, `priced`, `unknown`). Tokens that nobody counted are none."""
    if spec.local:
        return _LOCAL
    if subscription_of(subscriptions, spec.provider) is not None:
        return _SUBSCRIBED
    price = model.price if model is not None else None
    return UNKNOWN if price is None else Cost(cost_micro_usd(price, amount_of(tokens)), "priced")


def amount_of(tokens: Tokens) -> Amount:
    """Tokens as the ledger counts them. The totals of the wire hold what was cached; what is left is fresh input."""
    read, written = tokens.cache_read_tokens or 0, tokens.cache_write_tokens or 0
    return Amount(
        input_tokens=max(0, (tokens.input_tokens or 0) - read - written),
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=tokens.output_tokens or 0,
        reasoning_tokens=tokens.reasoning_tokens or 0,
    )
