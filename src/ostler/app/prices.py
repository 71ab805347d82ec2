"""The table of list prices: the one that comes with Ostler, or a newer one that the user put beside the hub's data."""

from importlib.resources import files
from pathlib import Path

import msgspec

from ostler.budget.prices import PriceBook, PriceTable, cost_micro_usd
from ostler.config.settings import LoadedProfile, policy_version
from ostler.domain.catalog import Catalog, ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.ledger import Amount
from ostler.domain.limits import BudgetPolicy, Price

FILE = "prices.json"
PRICE_KEYS = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok", "cache_write_usd_per_mtok")
_SAMPLE = Amount(input_tokens=3_000, output_tokens=1_000)


def shipped_table() -> PriceTable:
    """The table inside the package."""
    text = (files("ostler.budget") / FILE).read_bytes()
    return msgspec.json.decode(text, type=PriceTable)


def read_table(path: Path) -> PriceTable:
    """A table from a file. Raises `InvalidInputError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PriceTable)
    except OSError as error:
        raise InvalidInputError(f"cannot read it: {error.strerror}", where=str(path)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        remedy = "it must look like the table that `ostler prices show --json` prints"
        raise InvalidInputError(f"it is no table of prices: {error}", where=str(path), remedy=remedy) from error


def own_table(profile: LoadedProfile) -> Path:
    """Where the user's newer table lies."""
    return Path(profile.hub.data_dir) / FILE


def current_table(profile: LoadedProfile) -> PriceTable:
    """The user's table where there is one that is not older, else the shipped one."""
    shipped, path = shipped_table(), own_table(profile)
    if not path.exists():
        return shipped
    own = read_table(path)
    return own if own.dated >= shipped.dated else shipped


def install_table(profile: LoadedProfile, source: Path) -> PriceTable:
    """Check a table and put it where `current_table` finds it, whole or not at all."""
    table = read_table(source)
    if not table.providers:
        raise InvalidInputError("it has no prices", where=str(source))
    target = own_table(profile)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(msgspec.json.encode(table))
    partial.replace(target)
    return table


def with_list_prices(profile: LoadedProfile) -> LoadedProfile:
    """The profile with the table's price for each of its cloud models that has none of its own, so that choices,
    records and limits all reckon with it. Of several providers of a model the dearest counts.
    """
    table = current_table(profile)
    policy = profile.policy
    book = book_of(table, policy.budget)
    models, origins = dict(policy.catalog.models), dict(profile.origins)
    own = {name for name, spec in models.items() if spec.price is not None}
    for provider, model in cloud_places(policy.catalog):
        quote = book.known(provider, model)
        spec = models.get(model, ModelSpec(name=model))
        if quote is None or model in own or not _is_dearer(quote.price, spec.price):
            continue
        models[model] = _priced(spec, quote.price)
        for key in PRICE_KEYS:
            origins[f"models.{model}.{key}"] = f"list price of {table.dated} ({quote.name})"
    catalog = msgspec.structs.replace(policy.catalog, models=models)
    prices = {name: price for name, spec in models.items() if (price := spec.price) is not None}
    budget = msgspec.structs.replace(policy.budget, prices=prices)
    policy = msgspec.structs.replace(policy, catalog=catalog, budget=budget)
    policy = msgspec.structs.replace(policy, version=policy_version(policy))
    return msgspec.structs.replace(profile, policy=policy, origins=origins)


def cloud_places(catalog: Catalog) -> list[tuple[str, str]]:
    """Every (provider, model) that the profile may call in a cloud, by model and provider."""
    places = {
        (spec.provider, model)
        for spec in catalog.endpoints.values()
        if not spec.local
        for tier in catalog.tiers
        for model in tier.models
        if (not spec.models or model in spec.models) and (not tier.providers or spec.provider in tier.providers)
    }
    return sorted(places, key=lambda place: (place[1], place[0]))


def _is_dearer(price: Price, than: Price | None) -> bool:
    return than is None or cost_micro_usd(price, _SAMPLE) > cost_micro_usd(than, _SAMPLE)


def _priced(spec: ModelSpec, price: Price) -> ModelSpec:
    step = price.long[0] if price.long else None
    return msgspec.structs.replace(
        spec,
        input_usd_per_mtok=price.input,
        output_usd_per_mtok=price.output,
        cache_read_usd_per_mtok=price.cache_read,
        cache_write_usd_per_mtok=price.cache_write,
        reasoning_usd_per_mtok=price.reasoning,
        batch_percent=price.batch_percent,
        long_above_tokens=step.above_tokens if step is not None else None,
        long_input_usd_per_mtok=step.input if step is not None else None,
        long_output_usd_per_mtok=step.output if step is not None else None,
    )


def book_of(table: PriceTable, policy: BudgetPolicy) -> PriceBook:
    """The prices to reckon with: the profile's own over a table."""
    return PriceBook(table, policy.prices, unknown=policy.unknown_price, conservative=policy.conservative_price)
