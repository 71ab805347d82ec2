"""What work on the user's own machines would have cost in a cloud, from the records of real attempts and calls."""

from typing import NamedTuple

import msgspec

from ostler.app.budgets import Budgets
from ostler.app.prices import cloud_places
from ostler.budget.equivalent import cheapest
from ostler.budget.prices import cost_micro_usd
from ostler.domain.ledger import Amount, LedgerQuery

ENTRIES = 100_000


class Savings(NamedTuple):
    """Micro-dollars, and where it would have cost that."""

    micro_usd: int
    of: str
    """The model that it is reckoned with; empty = none has a price, or nothing was saved."""
    attempts: int = 0


def savings(budgets: Budgets) -> Savings:
    """Attempts of tasks and calls on local endpoints whose records are kept, at the price of the profile's
    `equivalent_model`, else of its cheapest cloud model; and what the ledger says was saved.
    """
    book, place = budgets.book, _place(budgets)
    use = budgets.ledger.kept_use()
    local = {name for name, spec in budgets.catalog.endpoints.items() if spec.local} | use.added_local
    found = [*(one for one in use.tasks if one.endpoint in local), *use.calls]
    amounts = (
        Amount(input_tokens=one.input_tokens, output_tokens=one.output_tokens, requests=one.attempts) for one in found
    )
    quote = book.known(*place) if place is not None else None
    # Sums of many prompts, none of which need have been a long one: they are reckoned at the price of short ones.
    price = msgspec.structs.replace(quote.price, long=()) if quote is not None else None
    reckoned = sum(cost_micro_usd(price, amount) for amount in amounts) if price is not None else 0
    noted = [one for one in budgets.ledger.entries(LedgerQuery(limit=ENTRIES)) if one.equivalent_micro_usd]
    micro_usd = reckoned + sum(one.equivalent_micro_usd for one in noted)
    names = ["/".join(place)] if place is not None and reckoned else []
    names += [one.equivalent_of for one in noted if one.equivalent_of]
    return Savings(micro_usd, ", ".join(dict.fromkeys(names)), sum(one.attempts for one in found))


def _place(budgets: Budgets) -> tuple[str, str] | None:
    places = cloud_places(budgets.catalog)
    named = [place for place in places if place[1] == budgets.policy.equivalent]
    return cheapest(budgets.book, named or places)
