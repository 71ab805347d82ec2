"""Reserve, settle, release and adjust: every attempt is charged once, in whatever order its reports come."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.ledger import account_of, change, entry_for, follow, limit_message, passed, plus, problem
from ostler.domain.commands import Adjust, LedgerCommand, RefusalReason, Release, Reserve, Settle
from ostler.domain.ledger import NOTHING, Amount, Basis, Bound, EntryKind, Scopes, Span, Spent
from ostler.domain.limits import ScopeKind, Unit
from tests.budget.made import COMMANDS, NOW_MS, NaiveLedger, total, usd

RESERVE = Reserve(attempt="a", at_ms=NOW_MS, amount=usd(0.10), scopes=Scopes(provider="anthropic"))
SETTLE = Settle(attempt="a", at_ms=NOW_MS + 5, amount=usd(0.07), scopes=Scopes(provider="openai"))
LOST = Settle(attempt="a", at_ms=NOW_MS + 6, amount=NOTHING, basis=Basis.ESTIMATED, ambiguous=True)
RELEASE = Release(attempt="a", at_ms=NOW_MS + 7)
ADJUST = Adjust(attempt="a", ref="bill", at_ms=NOW_MS + 8, amount=usd(0.08))
ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=NOW_MS + 100)


def dollars(*commands: LedgerCommand) -> tuple[float, float]:
    """Used and held after these commands."""
    ledger = NaiveLedger()
    for command in commands:
        ledger.add(command)
    spent = ledger.spent(ALL)
    return spent.used.micro_usd / 1e6, spent.held.micro_usd / 1e6


@pytest.mark.parametrize(
    ("commands", "used_and_held"),
    [
        ((RESERVE,), (0, 0.10)),
        ((RESERVE, RESERVE), (0, 0.10)),
        ((RESERVE, SETTLE), (0.07, 0)),
        ((RESERVE, SETTLE, SETTLE), (0.07, 0)),
        ((RESERVE, SETTLE, RELEASE), (0.07, 0)),
        ((RESERVE, SETTLE, LOST), (0.07, 0)),
        ((RESERVE, RELEASE), (0, 0)),
        ((RESERVE, RELEASE, RESERVE), (0, 0)),
        ((RESERVE, RELEASE, SETTLE), (0.07, 0)),
        ((RESERVE, RELEASE, LOST), (0, 0)),
        ((RESERVE, LOST), (0.10, 0)),
        ((RESERVE, LOST, RELEASE), (0.10, 0)),
        ((RESERVE, LOST, SETTLE), (0.07, 0)),
        ((RESERVE, LOST, SETTLE, SETTLE), (0.07, 0)),
        ((SETTLE,), (0.07, 0)),
        ((SETTLE, RESERVE), (0.07, 0)),
        ((RELEASE,), (0, 0)),
        ((ADJUST,), (0, 0)),
        ((RESERVE, SETTLE, ADJUST), (0.08, 0)),
        ((RESERVE, SETTLE, ADJUST, ADJUST, SETTLE), (0.08, 0)),
        ((RESERVE, ADJUST), (0.08, 0)),
    ],
)
def test_the_table_of_the_ledger(commands: tuple[Any, ...], used_and_held: tuple[float, float]) -> None:
    """What is used and held after each sequence that can happen to an attempt."""
    assert dollars(*commands) == used_and_held


def test_whatever_the_order_of_its_reports_an_attempt_costs_what_is_known_of_it() -> None:
    """After the reservation, a loss, a release and the true end in any order, each of them twice, cost the true end."""
    reports: list[LedgerCommand] = [LOST, RELEASE, SETTLE]
    for order in permutations(reports * 2):
        assert dollars(RESERVE, *order) == (0.07, 0), order


@given(st.lists(COMMANDS, max_size=12))
def test_nothing_is_charged_twice_or_forgotten(commands: list[LedgerCommand]) -> None:
    """Over any commands: repeating all of them changes nothing, an end leaves nothing held, and what is charged is what
    one command said or what the attempt had reserved.
    """
    ledger = NaiveLedger()
    for command in commands:
        ledger.add(command)
    assert not any(ledger.add(command) for command in commands if not isinstance(command, Adjust | Settle | Release))
    for attempt in ledger.attempts():
        account = account_of(ledger.of(attempt))
        assert account is not None
        said = [command.amount for command in commands if command.attempt == attempt and hasattr(command, "amount")]
        assert account.charged == NOTHING or account.charged in said
        assert account.is_open or account.held == NOTHING
        assert not account.is_open or account.charged == NOTHING


@given(st.lists(COMMANDS, max_size=15))
def test_the_changes_of_the_entries_add_up_to_the_accounts(commands: list[LedgerCommand]) -> None:
    """Sums kept step by step, as a store keeps them, are those of all accounts together."""
    ledger = NaiveLedger()
    used, held = [], []
    for command in commands:
        before = account_of(ledger.of(command.attempt))
        if ledger.add(command):
            step = change(before, follow(before, ledger.entries[-1]))
            used.append(step.used)
            held.append(step.held)

    everything = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=2 * NOW_MS)
    assert Spent(used=total(used), held=total(held)) == ledger.spent(everything)


def test_a_charge_belongs_to_the_instant_and_the_scopes_of_its_reservation() -> None:
    """Settled in the next window, and for another provider, it counts where the limit let it pass."""
    ledger = NaiveLedger()
    ledger.add(RESERVE)
    ledger.add(SETTLE)

    assert {entry.charged_ms for entry in ledger.entries} == {NOW_MS}
    assert {entry.scopes.provider for entry in ledger.entries} == {"anthropic"}
    assert ledger.entries[-1].at_ms == SETTLE.at_ms


def test_what_came_after_the_end_is_an_adjustment_and_says_so() -> None:
    """A late report of an attempt that was taken back stands in the ledger beside what was believed."""
    ledger = NaiveLedger()
    for command in (RESERVE, LOST, SETTLE):
        ledger.add(command)

    assert [(entry.kind, entry.ambiguous, entry.ref) for entry in ledger.entries] == [
        (EntryKind.RESERVE, False, ""),
        (EntryKind.SETTLE, True, ""),
        (EntryKind.ADJUST, False, "late"),
    ]


def bound(ceiling: int, unit: Unit = Unit.USD, name: str = "month") -> Bound:
    return Bound(limit=name, span=ALL, unit=unit, ceiling=ceiling)


@pytest.mark.parametrize(
    ("before", "asked", "ceiling", "passes"),
    [
        (0, 100_000, 100_000, True),
        (0, 100_001, 100_000, False),
        (60_000, 40_000, 100_000, True),
        (60_000, 40_001, 100_000, False),
        (100_000, 0, 100_000, False),
        (0, 0, 0, False),
        (0, 1, 0, False),
        (99_999, 0, 100_000, True),
    ],
)
def test_exactly_to_the_ceiling_passes(before: int, asked: int, ceiling: int, *, passes: bool) -> None:
    """A ceiling of 0.10 lets 0.10 pass and not a micro-dollar more; once it is reached nothing passes, and 0 is 0."""
    found = passed([bound(ceiling)], Amount(micro_usd=asked), lambda _: Spent(used=Amount(micro_usd=before)))

    assert (found is None) is passes


def test_what_is_held_counts_like_what_is_used_and_each_in_its_unit() -> None:
    """Money, tokens of all kinds and requests; the first bound that is passed is the one that is named."""
    spent = Spent(used=Amount(micro_usd=5, input_tokens=10), held=Amount(cache_read_tokens=10, output_tokens=5))
    asked = Amount(micro_usd=1, cache_write_tokens=3, reasoning_tokens=99)

    def verdict(*bounds: Bound) -> str | None:
        found = passed(bounds, asked, lambda _: spent)
        return found.limit if found is not None else None

    assert verdict(bound(6), bound(28, Unit.TOKENS), bound(3, Unit.REQUESTS)) is None
    assert verdict(bound(6), bound(27, Unit.TOKENS, "tokens"), bound(1, Unit.REQUESTS, "requests")) == "tokens"
    assert verdict(bound(6), bound(2, Unit.REQUESTS, "requests")) == "requests"


def test_a_refusal_says_what_was_asked_and_what_is_left() -> None:
    """With the limit's name, and apart what is used and what is only held."""
    spent = Spent(used=usd(0.05), held=usd(0.01))

    message = limit_message(RESERVE, bound(100_000, name="tick"), spent)

    assert message == ("limit tick: 100000 asked for, 40000 left of 100000 (50000 used, 10000 held; micro-dollars)")


def test_an_adjustment_of_nothing_and_a_negative_amount_are_refused() -> None:
    """The first because there is nothing to correct, the second because a ledger that can be talked down leaks."""
    not_found = problem(ADJUST, None)
    negative = problem(Settle(attempt="a", at_ms=0, amount=Amount(micro_usd=-1, output_tokens=-2)), None)

    assert not_found is not None
    assert negative is not None
    assert not_found[0] is RefusalReason.NOT_FOUND
    assert negative == (RefusalReason.ILLEGAL, "attempt a: micro_usd, output_tokens below 0")
    assert problem(RELEASE, None) is None


def test_amounts_are_added_field_by_field() -> None:
    """Adding and taking away again is nothing."""
    one = Amount(
        micro_usd=1, input_tokens=2, cache_read_tokens=3, cache_write_tokens=4, output_tokens=5, reasoning_tokens=6
    )

    assert plus(one, one) == total([one, one])
    assert plus(plus(one, one), one, -1) == one
    assert one.tokens == 14, "reasoning is a part of the output"


def test_a_settlement_keeps_the_counterfactual_and_the_tier_that_was_asked_for() -> None:
    """They are in the entry, for savings and drift."""
    settle = Settle(
        attempt="a", at_ms=1, amount=Amount(), basis=Basis.LOCAL, scopes=Scopes(tier="small"),
        equivalent_micro_usd=7, equivalent_of="anthropic/haiku", asked_tier="large", note="by hand",
    )  # fmt: skip
    entry = entry_for(settle, None)

    assert entry is not None
    assert (entry.equivalent_micro_usd, entry.equivalent_of, entry.asked_tier) == (7, "anthropic/haiku", "large")
    assert (entry.basis, entry.note, entry.charged_ms) == (Basis.LOCAL, "by hand", 1)
