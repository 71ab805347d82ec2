"""What a flush writes to the ledger, without a database: its rows are the sums of its entries."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.book import LedgerBook
from ostler.budget.buckets import BucketKey
from ostler.domain.commands import Applied, LedgerCommand
from ostler.domain.ledger import Span
from ostler.domain.limits import ScopeKind
from ostler.store.ledger import LedgerPlan
from ostler.store.rows import COUNTS
from tests.budget.made import COMMANDS, SPANS

NAMES = ("entries", *(f"{part}_{name}" for part in ("used", "held") for name in COUNTS))


def rows_of(plan: LedgerPlan) -> dict[BucketKey, Counter[str]]:
    """What is added to each row, by the name of its column; columns to which nothing is added are left out."""
    _, added = plan.sum_rows()
    found = {}
    for row in added:
        counts, key = row[: len(NAMES)], BucketKey(*row[len(NAMES) :])
        found[key] = Counter({name: count for name, count in zip(NAMES, counts, strict=True) if count})
    return found


@given(st.lists(COMMANDS, max_size=30), st.lists(SPANS, max_size=4, unique=True))
def test_a_flush_adds_to_the_sums_what_its_entries_say(commands: list[LedgerCommand], spans: list[Span]) -> None:
    """Any commands in one flush: entries are numbered without a gap, each row gets what the entries add to it, and the
    spans that it knows move as those of a ledger that is kept one by one.
    """
    book = LedgerBook()
    plan = LedgerPlan({}, {span: book.spent(span) for span in spans}, 0)
    for command in commands:
        judged, answer = book.apply(command), plan.add(command)
        assert isinstance(answer, Applied) is (judged.reason is None)

    assert plan.last_seq == len(book.entries) == len(plan.entries)
    fresh, added = plan.sum_rows()
    keys = [row[: len(BucketKey._fields)] for row in fresh]
    assert len(set(keys)) == len(keys) == len(added), "each row is written once"
    assert all(not any(row[len(BucketKey._fields) :]) for row in fresh), "it is there with zeros before"
    sums = {BucketKey(row.scope, row.value, row.grain, row.start_ms): row.spent for row in book.summed(ScopeKind, 0)}
    found = rows_of(plan)
    assert found.keys() == sums.keys()
    for key, counts in found.items():
        assert counts["entries"] > 0
        for part, amount in (("used", sums[key].used), ("held", sums[key].held)):
            expected = {name: getattr(amount, name) for name in COUNTS}
            assert {name: counts[f"{part}_{name}"] for name in COUNTS} == expected


@given(st.lists(COMMANDS, max_size=20), st.integers(1, 19))
def test_two_flushes_add_what_one_does(commands: list[LedgerCommand], cut: int) -> None:
    """Where a flush ends is chance: the sums of both are those of one."""
    whole = LedgerPlan({}, {}, 0)
    for command in commands:
        whole.add(command)
    accounts: dict[str, object] = {}
    first = LedgerPlan(accounts, {}, 0)  # type: ignore[arg-type]
    for command in commands[:cut]:
        first.add(command)
    second = LedgerPlan(accounts, {}, first.last_seq)  # type: ignore[arg-type]
    for command in commands[cut:]:
        second.add(command)

    together: dict[BucketKey, Counter[str]] = {}
    for plan in (first, second):
        for key, counts in rows_of(plan).items():
            known = together.setdefault(key, Counter())
            for name, count in counts.items():
                known[name] += count
    assert {key: +counts - Counter() for key, counts in together.items()} == {
        key: +counts - Counter() for key, counts in rows_of(whole).items()
    }
    assert second.last_seq == whole.last_seq
