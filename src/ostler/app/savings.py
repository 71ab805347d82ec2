"""What work on the user's own machines would have cost in a cloud, from the records of real attempts and calls."""

from typing import NamedTuple

import msgspec

from ostler.app.budgets import Budgets
from ostler.app.prices import book_of, cloud_places, current_table
from ostler.budget.equivalent import cheapest
from ostler.budget.prices import PriceBook, cost_micro_usd
from ostler.config.settings import LoadedProfile
from ostler.domain.catalog import Catalog
from ostler.domain.errors import OstlerError
from ostler.domain.ledger import Amount, LedgerQuery
from ostler.domain.limits import BudgetPolicy
from ostler.domain.policy import Policy
from ostler.hub.board_views import Savings as BoardSavings
from ostler.store.ledger_reader import LedgerReader

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
    return reckoned(budgets.catalog, budgets.policy, budgets.book, budgets.ledger)


def reckoned(catalog: Catalog, policy: BudgetPolicy, book: PriceBook, ledger: LedgerReader) -> Savings:
    """The same for a hub that runs: reads its ledger beside it. O(attempts and calls that are kept)."""
    place = _place(catalog, policy, book)
    use = ledger.kept_use()
    local = {name for name, spec in catalog.endpoints.items() if spec.local} | use.added_local
    found = [*(one for one in use.tasks if one.endpoint in local), *use.calls]
    amounts = (
        Amount(input_tokens=one.input_tokens, output_tokens=one.output_tokens, requests=one.attempts) for one in found
    )
    quote = book.known(*place) if place is not None else None
    # Sums of many prompts, none of which need have been a long one: they are reckoned at the price of short ones.
    price = msgspec.structs.replace(quote.price, long=()) if quote is not None else None
    worth = sum(cost_micro_usd(price, amount) for amount in amounts) if price is not None else 0
    noted = [one for one in ledger.entries(LedgerQuery(newest_first=True, limit=ENTRIES)) if one.equivalent_micro_usd]
    micro_usd = worth + sum(one.equivalent_micro_usd for one in noted)
    names = ["/".join(place)] if place is not None and worth else []
    names += [one.equivalent_of for one in noted if one.equivalent_of]
    return Savings(micro_usd, ", ".join(dict.fromkeys(names)), sum(one.attempts for one in found))


def for_board(profile: LoadedProfile, policy: Policy, ledger: LedgerReader) -> BoardSavings | None:
    """As the pages show it; `None` where the ledger cannot be read just now."""
    try:
        found = reckoned(policy.catalog, policy.budget, book_of(current_table(profile), policy.budget), ledger)
    except OstlerError:
        return None
    return BoardSavings(micro_usd=found.micro_usd, of=found.of, attempts=found.attempts)


def _place(catalog: Catalog, policy: BudgetPolicy, book: PriceBook) -> tuple[str, str] | None:
    places = cloud_places(catalog)
    named = [place for place in places if place[1] == policy.equivalent]
    return cheapest(book, named or places)
