"""The table of list prices: the one that comes with Ostler, or a newer one that the user put beside the hub's data."""

from importlib.resources import files
from pathlib import Path

import msgspec

from ostler.budget.prices import PriceBook, PriceTable
from ostler.config.settings import LoadedProfile
from ostler.domain.errors import InvalidInputError
from ostler.domain.limits import BudgetPolicy

FILE = "prices.json"


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
    except msgspec.MsgspecError as error:
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


def book_of(table: PriceTable, policy: BudgetPolicy) -> PriceBook:
    """The prices to reckon with: the profile's own over a table."""
    return PriceBook(table, policy.prices, unknown=policy.unknown_price, conservative=policy.conservative_price)
