"""Whether the ledger and its sums are what was written: nothing taken away, nothing edited, nothing torn.

Limits are checked on the sums, so a sum that lost something would let the same money be spent twice. At each start the
newest entry and the number of entries that were summed up are compared, which is cheap and finds what was cut off or
emptied. The full check adds the whole ledger up again and compares every sum. A ledger that fails is never read as one
that is empty.
"""

from collections import Counter
from collections.abc import Iterator

from ostler.budget.buckets import BucketKey, Grain, buckets
from ostler.budget.ledger import Account, change, follow
from ostler.domain.ledger import Amount
from ostler.domain.limits import ScopeKind
from ostler.store import rows
from ostler.store.rows import COUNTS, Run

NEWEST = "SELECT coalesce(max(seq), 0), count(*) FROM ledger"
SUMMED = "SELECT coalesce(sum(entries), 0) FROM spending WHERE scope = 'all' AND grain = 0"
_PAGE = 1000
_ENTRIES = f"SELECT seq, body FROM ledger WHERE seq > ? ORDER BY seq LIMIT {_PAGE}"  # noqa: S608 - our own names
_COLUMNS = ", ".join(f"{part}_{name}" for part in ("used", "held") for name in COUNTS)
_SUMS = f"SELECT scope, value, grain, start_ms, entries, {_COLUMNS} FROM spending"  # noqa: S608 - our own names
_GRAINS = {Grain.ALL: "all time", Grain.QUARTER: "a quarter-hour", Grain.DAY: "a day"}


def torn(newest_seq: int, entries: int, summed: int) -> str | None:
    """What is wrong at first sight; `None` when nothing is."""
    if newest_seq != entries:
        return f"the ledger has {entries} entries, its newest has number {newest_seq}"
    if entries != summed:
        return f"the ledger has {entries} entries, its sums count {summed}"
    return None


def ledger_problems(run: Run) -> Iterator[str]:
    """Everything that is wrong, a line each. O(ledger)."""
    ((newest_seq, entries),) = run(NEWEST, ())
    ((summed,),) = run(SUMMED, ())
    problem = torn(newest_seq, entries, summed)
    if problem is not None:
        yield problem
    expected: dict[BucketKey, Counter[str]] = {}
    accounts: dict[str, Account] = {}
    last = 0
    while found := run(_ENTRIES, (last,)):
        for _seq, text in found:
            try:
                entry = rows.decode_entry(text)
            except rows.DecodeError:
                continue  # told of by the check of all bodies
            before = accounts.get(entry.attempt)
            after = accounts[entry.attempt] = follow(before, entry)
            step = change(before, after)
            added = {"entries": 1, **_named("used", step.used), **_named("held", step.held)}
            for key in buckets(after.scopes, after.charged_ms):
                expected.setdefault(key, Counter()).update(added)
        last = found[-1][0]
    yield from _differing(run, expected)


def _differing(run: Run, expected: dict[BucketKey, Counter[str]]) -> Iterator[str]:
    names = ["entries", *(f"{part}_{name}" for part in ("used", "held") for name in COUNTS)]
    for row in run(_SUMS, ()):
        key = BucketKey(*row[:4])
        counts = expected.pop(key, Counter())
        for name, stored in zip(names, row[4:], strict=True):
            if stored != counts[name]:
                yield f"the sum of {_scope(key)} says {name} {stored}, its entries say {counts[name]}"
    yield from (f"the sum of {_scope(key)} is missing" for key in expected)


def _named(part: str, amount: Amount) -> dict[str, int]:
    return {f"{part}_{name}": getattr(amount, name) for name in COUNTS}


def _scope(key: BucketKey) -> str:
    whose = "everybody" if key.scope == ScopeKind.ALL.value else f"{key.scope} {key.value}"
    return f"{whose} over {_GRAINS[Grain(key.grain)]} from {key.start_ms}"
