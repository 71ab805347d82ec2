"""Tokens to micro-dollars: which price holds for a model, and what an amount of tokens costs at it.

A price is looked for in this order: the user's own by exact name; the table by provider and exact name; the table by
the longest name that the model's begins with, up to a separator (`gpt-5-2026-01-01` is `gpt-5`, `gpt-50` is not). What
is found nowhere has no price: it is charged at the conservative price or refused, by setting, and never free.

Costs are exact (decimal) and rounded up once, over all kinds of tokens together.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from ostler.domain.catalog import normal_model
from ostler.domain.ledger import Amount, Basis
from ostler.domain.limits import LongPrice, Price, UnknownPrice
from ostler.domain.money import MICRO_USD_PER_USD, TOKENS_PER_PRICE_UNIT

_SEPARATORS = "-:@."
_MICRO_PER_TOKEN = Decimal(MICRO_USD_PER_USD) / TOKENS_PER_PRICE_UNIT
_PERCENT = 100


class PricedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the table: its price, and what is known of it."""

    price: Price
    context_tokens: int | None = None
    aliases: tuple[str, ...] = ()


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    """List prices by provider and model, as of a day. USD for a million tokens."""

    dated: str
    """The day of the prices, as `2026-11-29`."""
    source: str
    licence: str = ""
    providers: Mapping[str, Mapping[str, PricedModel]] = {}


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A price and where it is from."""

    price: Price
    source: str
    """`profile`, `table` or `conservative`."""
    name: str
    """The name it was found under."""
    is_known: bool = True


class PriceBook:
    """Looks prices up: the user's over the table's. Immutable; lookups are cached."""

    def __init__(
        self,
        table: PriceTable,
        own: Mapping[str, Price] | None = None,
        *,
        unknown: UnknownPrice = UnknownPrice.CONSERVATIVE,
        conservative: Price,
    ) -> None:
        self.table = table
        self._own = {normal_model(name): price for name, price in (own or {}).items()}
        self._unknown = unknown
        self._conservative = conservative
        self._names = {provider: _by_name(models) for provider, models in table.providers.items()}
        self._found: dict[tuple[str, str], Quote | None] = {}

    def known(self, provider: str, model: str) -> Quote | None:
        """The price of a model, if there is one."""
        key = provider, model
        if key not in self._found:
            self._found[key] = self._look_up(provider, normal_model(model))
        return self._found[key]

    def quote(self, provider: str, model: str) -> Quote | None:
        """The price to reckon with; `None` = unknown, and work without a price is refused."""
        found = self.known(provider, model)
        if found is not None or self._unknown is UnknownPrice.REFUSE:
            return found
        return Quote(price=self._conservative, source="conservative", name=model, is_known=False)

    def _look_up(self, provider: str, model: str) -> Quote | None:
        if model in self._own:
            return Quote(price=self._own[model], source="profile", name=model)
        maker, _, bare = model.rpartition("/")
        # A router of providers names the maker in the model, and passes its list price on.
        for seller, spelling in ((provider, model), (provider, bare), (maker, bare)):
            names = self._names.get(seller, {})
            found = spelling if spelling in names else _longest_prefix(spelling, names)
            if found is not None:
                return Quote(price=names[found].price, source="table", name=f"{seller}/{found}")
        return None


def basis_of(quote: Quote, *, estimated: bool = False) -> Basis:
    """How an amount at this price is known.

    >>> basis_of(Quote(price=Price(input=1, output=2), source="table", name="m")).value
    'priced'
    """
    if not quote.is_known:
        return Basis.UNKNOWN
    return Basis.ESTIMATED if estimated else Basis.PRICED


def cost_micro_usd(price: Price, amount: Amount, *, batch: bool = False) -> int:
    """What tokens cost, rounded up to a micro-dollar.

    >>> cost_micro_usd(Price(input=3.0, output=15.0), Amount(input_tokens=1000, output_tokens=100))
    4500
    """
    at = _at_length(price, amount.input_tokens + amount.cache_read_tokens + amount.cache_write_tokens)
    reasoning = min(amount.reasoning_tokens, amount.output_tokens)
    tokens = (
        (amount.input_tokens, at.input),
        (amount.cache_read_tokens, at.input if at.cache_read is None else at.cache_read),
        (amount.cache_write_tokens, at.input if at.cache_write is None else at.cache_write),
        (amount.output_tokens - reasoning, at.output),
        (reasoning, at.output if at.reasoning is None else at.reasoning),
    )
    micro = sum((count * Decimal(str(usd)) for count, usd in tokens if count), Decimal()) * _MICRO_PER_TOKEN
    micro += amount.requests * Decimal(str(price.request_usd)) * MICRO_USD_PER_USD
    if batch:
        micro = micro * price.batch_percent / _PERCENT
    whole = int(micro)
    return whole + (1 if micro > whole else 0)


def _at_length(price: Price, prompt_tokens: int) -> Price:
    """The price at a length of the prompt: the whole call is at it, not only what is beyond."""
    reached: LongPrice | None = None
    for step in price.long:
        if prompt_tokens > step.above_tokens:
            reached = step
    if reached is None:
        return price
    names = ("input", "output", "cache_read", "cache_write")
    changed = {name: value for name in names if (value := getattr(reached, name)) is not None}
    return msgspec.structs.replace(price, **changed)


def _by_name(models: Mapping[str, PricedModel]) -> dict[str, PricedModel]:
    names = {alias: model for model in models.values() for alias in model.aliases}
    return names | dict(models)


def _longest_prefix(model: str, names: Mapping[str, PricedModel]) -> str | None:
    cuts = (model[:end] for end in range(len(model) - 1, 0, -1) if model[end] in _SEPARATORS)
    return next((cut for cut in cuts if cut in names), None)
