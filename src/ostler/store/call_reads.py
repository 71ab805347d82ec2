"""The reads about keys and calls of the gateway, like those of `reads`.

Lists of calls walk one index from its newest end and stop at the limit. Model and endpoint are looked at on the way, in
the index of all calls without their bodies; a filter that few calls pass costs O(calls) all the same.
"""

from collections import Counter
from typing import NamedTuple

from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.domain.ports import CallDetail, CallQuery
from ostler.store import rows
from ostler.store.rows import Run

_NEWEST = (2**63 - 1, "")
"""Above every call that is stored: no instant is that late."""


class CallQueries(NamedTuple):
    """Text of every read; parameters by position, in the order of the words that describe it."""

    keys: str
    place: str
    """at_ms, id by id."""
    newest: str
    """body: below (at_ms, id), of a model, of an endpoint (`None` = any), at most so many."""
    newest_failed: str
    """The same."""
    newest_of_key: str
    """The same, before all of it the key; after the endpoint whether failed ones alone."""
    call: str
    decision: str
    """By key."""
    spent: str
    """key, calls, cost, newest: since."""
    pruned: str
    """The same: from the day on that begins at."""
    oldest: str


def keys(run: Run, queries: CallQueries) -> list[GatewayKey]:
    """All keys by name. O(keys)."""
    return [rows.decode_key(text) for (text,) in run(queries.keys, ())]


def calls(run: Run, queries: CallQueries, query: CallQuery) -> list[CallRecord]:
    """The newest calls that match; see the module for the cost."""
    places = [_NEWEST] if query.before is None else run(queries.place, (query.before,))
    if not places:
        return []
    filters = (*places[0], query.model, query.endpoint)
    limit = max(0, query.limit)
    if query.key:
        found = run(queries.newest_of_key, (query.key, *filters, int(query.failed), limit))
    else:
        found = run(queries.newest_failed if query.failed else queries.newest, (*filters, limit))
    return [rows.decode_call(text) for (text,) in found]


def call_detail(run: Run, queries: CallQueries, call_id: str) -> CallDetail | None:
    """One call and its decision."""
    found = run(queries.call, (call_id,))
    if not found:
        return None
    record = rows.decode_call(found[0][0])
    kept = run(queries.decision, (record.decision_key,))
    return CallDetail(record=record, decision=rows.decode_decision(kept[0][0]) if kept else None)


def key_spend(run: Run, queries: CallQueries, since_ms: int) -> KeySpend:
    """What each key has spent, from one index and the sums of what was pruned. O(calls with a key in it)."""
    uses: Counter[str] = Counter()
    micro_usd: Counter[str] = Counter()
    last_ms: dict[str, int] = {}
    for key, count, cost, newest in (*run(queries.spent, (since_ms,)), *run(queries.pruned, (since_ms,))):
        uses[key] += count
        micro_usd[key] += cost
        last_ms[key] = max(newest, last_ms.get(key, newest))
    return KeySpend(since_ms=since_ms, micro_usd=dict(micro_usd), calls=dict(uses), last_ms=last_ms)


def oldest_call_ms(run: Run, queries: CallQueries) -> int | None:
    """When the oldest call came in."""
    oldest: int | None = run(queries.oldest, ())[0][0]
    return oldest
