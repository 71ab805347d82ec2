"""What `ostler prices` shows, without a hub."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ostler.app.prices import book_of, cloud_places, current_table, install_table
from ostler.budget.prices import PriceTable, Quote
from ostler.config.load import load_profile
from ostler.domain.catalog import normal_model


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model and what it costs."""

    name: str
    provider: str = ""
    known: bool = True
    prices: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)
    """Input, output, cache read, cache write; USD for a million tokens."""
    source: str = ""


class PriceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, and the table they are from."""

    dated: str
    source: str
    rows: tuple[PriceRow, ...]


def price_rows(profile: str | None, names: Sequence[str]) -> PriceAnswer:
    """Prices of these models, or of all cloud models of the profile."""
    loaded = load_profile(profile, os.environ)
    table = current_table(loaded)
    book = book_of(table, loaded.policy.budget)
    catalog = loaded.policy.catalog
    places = cloud_places(catalog)
    if names:
        wanted = [catalog.model_aliases.get(normal_model(name), normal_model(name)) for name in names]
        where = {model: provider for provider, model in places}
        places = [(where.get(model, ""), model) for model in wanted]
    rows = []
    for provider, model in places:
        providers = [provider] if provider else sorted(table.providers)
        quotes = ((one, quote) for one in providers if (quote := book.known(one, model)) is not None)
        found = next(quotes, None)
        rows.append(PriceRow(name=model, known=False) if found is None else _row(model, *found))
    return PriceAnswer(dated=table.dated, source=table.source, rows=tuple(rows))


def refreshed(profile: str | None, source: Path) -> PriceTable:
    """Install a table from a file."""
    return install_table(load_profile(profile, os.environ), source)


def _row(model: str, provider: str, quote: Quote) -> PriceRow:
    price = quote.price
    source = quote.source if quote.source == "profile" else quote.name
    return PriceRow(
        name=model,
        provider=provider,
        prices=(price.input, price.output, price.cache_read, price.cache_write),
        source=source,
    )
