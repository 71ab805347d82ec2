"""Every store: keys of the gateway, records of its calls, their decisions, and what they have cost."""

import asyncio

import msgspec
import pytest

from ostler.domain.commands import Applied, PruneCalls, PutCalls, PutKey, RefusalReason, Refused, RevokeKey
from ostler.domain.live import KeySpend
from ostler.domain.ports import CallDetail, CallQuery, Store
from ostler.domain.states import FailureClass
from tests.store.rows_made import (
    NOW_MS,
    make_call,
    make_call_attempt,
    make_call_decision,
    make_decision,
    make_event,
    make_key,
)

DAY_MS = 86_400_000
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS


def put_key(name: str, key_hash: str = "", **changes: object) -> PutKey:
    key = make_key(name, key_hash or f"hash of {name}", **changes)
    return PutKey(key=key, event=make_event(None, "key.created", key=name))


def revoke(name: str, at_ms: int = NOW_MS + 1) -> RevokeKey:
    return RevokeKey(name=name, at_ms=at_ms, event=make_event(None, "key.revoked", key=name))


def put_calls(*records: object, **changes: object) -> PutCalls:
    return PutCalls(records=records, **changes)  # type: ignore[arg-type]


async def test_an_empty_store_knows_no_keys_and_no_calls(store: Store) -> None:
    """Nothing is there, and nothing was spent."""
    assert await store.keys() == []
    assert await store.calls(CallQuery()) == []
    assert await store.call("c-1") is None
    assert await store.key_spend(0) == KeySpend(since_ms=0)
    assert await store.oldest_call_ms() is None


async def test_keys_are_kept_whole_and_listed_by_name(store: Store) -> None:
    """A key comes back with everything that is attached to it, and its event is in the feed."""
    full = put_key("phone", models=("m",), tiers=("standard",), task="t", limit_micro_usd=5, limit_window="day")

    answers = await store.apply([full, put_key("laptop", local_only=True)])

    assert answers == [Applied(last_seq=1), Applied(last_seq=2)]
    assert await store.keys() == [make_key("laptop", "hash of laptop", local_only=True), full.key]
    assert [event.metadata["key"] for event in await store.events()] == ["phone", "laptop"]


async def test_a_revoked_key_stays_listed(store: Store) -> None:
    """It says when it was revoked; doing so again changes nothing and is no event; an unknown name is said."""
    await store.apply([put_key("laptop")])

    answers = await store.apply([revoke("laptop"), revoke("laptop", NOW_MS + 9), revoke("phone")])

    unknown = Refused(reason=RefusalReason.NOT_FOUND, message="there is no key named phone")
    assert answers == [Applied(last_seq=2), Applied(), unknown]
    assert await store.keys() == [make_key("laptop", "hash of laptop", revoked_ms=NOW_MS + 1)]
    assert len(await store.events()) == 2


async def test_the_name_of_a_key_means_one_key_for_good(store: Store) -> None:
    """The same key again is applied and writes nothing; another under its name, or its hash under another, is not."""
    await store.apply([put_key("laptop", "h1")])

    answers = await store.apply(
        [
            put_key("laptop", "h1"),
            put_key("laptop", "h2"),
            put_key("phone", "h1"),
            revoke("laptop"),
            put_key("laptop", "h3"),
            put_key("laptop", "h1"),
        ]
    )

    messages = [answer.message if isinstance(answer, Refused) else "" for answer in answers]
    assert messages == [
        "",
        "a key named laptop exists; the records of its calls keep the name",
        "this key is stored under the name laptop",
        "",
        "a key named laptop existed and was revoked; the records of its calls keep the name",
        "",
    ]
    assert await store.keys() == [make_key("laptop", "h1", revoked_ms=NOW_MS + 1)]


async def test_a_call_comes_back_whole(store: Store) -> None:
    """With its attempts, and with the decision that it shares with others."""
    attempts = (make_call_attempt(failure=FailureClass.OVERLOADED, status=529), make_call_attempt(cost_micro_usd=12))
    record = make_call("c-1", attempts=attempts, decision_key="d1", dropped=("seed",), prompt="why?", answer="so")
    decision = make_call_decision("d1")

    assert await store.apply([put_calls(record, make_call("c-2"), decisions=(decision,))]) == [Applied()]

    assert await store.call("c-1") == CallDetail(record=record, decision=decision.decision)
    assert await store.call("c-2") == CallDetail(record=make_call("c-2"))


async def test_what_is_stored_of_a_call_stays(store: Store) -> None:
    """The same id again, in a batch or later, is no second call; of a decision only the time of its use moves."""
    first, other = make_call("c-1", key="k", cost_micro_usd=5), make_call("c-1", key="k", cost_micro_usd=7)
    renewed = msgspec.structs.replace(make_call_decision("d1", NOW_MS + 5), decision=make_decision(summary="other"))

    await store.apply([put_calls(first, other, decisions=(make_call_decision("d1"),))])
    await store.apply([put_calls(other, decisions=(renewed,))])

    assert await store.calls(CallQuery()) == [first]
    assert (await store.key_spend(0)).micro_usd == {"k": 5}
    await store.apply([PruneCalls(before_ms=0, limit=1, decisions_before_ms=NOW_MS + 5)])
    await store.apply([put_calls(make_call("c-2", decision_key="d1"))])
    found = await store.call("c-2")
    assert found is not None
    assert found.decision == make_decision()


@pytest.fixture
async def listed(store: Store) -> Store:
    """Twelve calls by time: every second one with key `k`, every third one failed, every fourth at `cloud`."""
    records = [
        make_call(
            f"c-{n:02}",
            at_ms=NOW_MS + n // 2,
            key="k" if n % 2 == 0 else "",
            failure=FailureClass.SERVER if n % 3 == 0 else None,
            endpoint="cloud" if n % 4 == 0 else "box",
            model="big" if n % 4 == 0 else "small",
            asked_model="auto" if n == 5 else "",
        )
        for n in range(1, 13)
    ]
    await store.apply([put_calls(*reversed(records))])
    return store


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (CallQuery(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (CallQuery(limit=3), [12, 11, 10]),
        (CallQuery(limit=3, before="c-10"), [9, 8, 7]),
        (CallQuery(before="c-01"), []),
        (CallQuery(before="c-99"), []),
        (CallQuery(limit=0), []),
        (CallQuery(limit=-1), []),
        (CallQuery(failed=True), [12, 9, 6, 3]),
        (CallQuery(failed=True, limit=2, before="c-12"), [9, 6]),
        (CallQuery(key="k"), [12, 10, 8, 6, 4, 2]),
        (CallQuery(key="k", before="c-09", limit=2), [8, 6]),
        (CallQuery(key="k", failed=True), [12, 6]),
        (CallQuery(key="k", failed=True, endpoint="box"), [6]),
        (CallQuery(key="unknown"), []),
        (CallQuery(endpoint="cloud"), [12, 8, 4]),
        (CallQuery(model="small", limit=2), [11, 10]),
        (CallQuery(model="auto"), [5]),
        (CallQuery(model="big", endpoint="box"), []),
    ],
)
async def test_calls_are_listed_newest_first(listed: Store, query: CallQuery, numbers: list[int]) -> None:
    """Each filter alone and together; calls of one instant in order of their ids; `before` goes on below."""
    assert [int(record.id.removeprefix("c-")) for record in await listed.calls(query)] == numbers


async def test_paging_reaches_every_call_once(listed: Store) -> None:
    """Following `before` from page to page meets each call exactly once, although instants repeat."""
    seen: list[str] = []
    before = None
    while page := await listed.calls(CallQuery(limit=5, before=before)):
        seen += [record.id for record in page]
        before = page[-1].id

    assert seen == [f"c-{n:02}" for n in range(12, 0, -1)]


async def test_spending_is_summed_by_key_since_an_instant(store: Store) -> None:
    """Calls at the instant count, those before do not; an unknown price adds nothing; no key is no entry."""
    await store.apply(
        [
            put_calls(
                make_call("c-1", at_ms=NOW_MS - 1, key="a", cost_micro_usd=100),
                make_call("c-2", at_ms=NOW_MS, key="a", cost_micro_usd=7),
                make_call("c-3", at_ms=NOW_MS + 1, key="a"),
                make_call("c-4", at_ms=NOW_MS + 2, key="b", cost_micro_usd=2**40),
                make_call("c-5", at_ms=NOW_MS + 3, cost_micro_usd=9),
            )
        ]
    )

    spent = await store.key_spend(NOW_MS)

    assert spent == KeySpend(
        since_ms=NOW_MS,
        micro_usd={"a": 7, "b": 2**40},
        calls={"a": 2, "b": 1},
        last_ms={"a": NOW_MS + 1, "b": NOW_MS + 2},
    )
    assert (await store.key_spend(NOW_MS + 3)).micro_usd == {}


async def test_the_oldest_calls_are_pruned_first(store: Store) -> None:
    """At most so many, only from before the instant, in order of time whatever the order of writing."""
    await store.apply([put_calls(*(make_call(f"c-{n}", at_ms=NOW_MS + n) for n in (3, 1, 4, 2)))])

    await store.apply([PruneCalls(before_ms=NOW_MS + 4, limit=2)])
    assert [record.id for record in await store.calls(CallQuery())] == ["c-4", "c-3"]
    assert await store.oldest_call_ms() == NOW_MS + 3

    await store.apply([PruneCalls(before_ms=NOW_MS + 4, limit=2), PruneCalls(before_ms=NOW_MS + 9, limit=-1)])
    assert [record.id for record in await store.calls(CallQuery())] == ["c-4"]


async def test_spending_outlives_the_records_of_the_calls(store: Store) -> None:
    """What a key has spent in all, or since the beginning of a day, is the same after its calls were pruned."""
    days = [MIDNIGHT_MS + DAY_MS * day + hour for day in range(3) for hour in (0, 5)]
    calls = [make_call(f"c-{n}", at_ms=at_ms, key="k", cost_micro_usd=10**n) for n, at_ms in enumerate(days)]
    await store.apply([put_calls(*calls)])
    windows = (0, MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, MIDNIGHT_MS + 2 * DAY_MS)
    before = [await store.key_spend(since_ms) for since_ms in windows]

    for _ in range(3):
        await store.apply([PruneCalls(before_ms=MIDNIGHT_MS + 9 * DAY_MS, limit=2)])
        assert [await store.key_spend(since_ms) for since_ms in windows] == before

    assert await store.calls(CallQuery()) == []
    assert before[0].micro_usd == {"k": 111_111}
    assert before[0].last_ms == {"k": days[-1]}


async def test_pruning_and_putting_keep_their_order_inside_a_batch(store: Store) -> None:
    """A call put after a pruning outlives it, one put before does not, also where all share a flush."""
    prune = PruneCalls(before_ms=NOW_MS + 1, limit=10)

    await asyncio.gather(
        store.apply([put_calls(make_call("c-1"))]),
        store.apply([put_calls(make_call("c-2")), prune, put_calls(make_call("c-3"))]),
    )

    assert [record.id for record in await store.calls(CallQuery())] == ["c-3"]


async def test_decisions_are_forgotten_when_no_call_used_them_for_long(store: Store) -> None:
    """The time of the last use decides, not the time of the first."""
    await store.apply([put_calls(make_call("c-1", decision_key="old"), make_call("c-2", decision_key="new"))])
    await store.apply([put_calls(decisions=(make_call_decision("old", 10), make_call_decision("new", 10)))])
    await store.apply([put_calls(decisions=(make_call_decision("new", 20),))])

    await store.apply([PruneCalls(before_ms=0, limit=0, decisions_before_ms=20)])

    details = [await store.call(call_id) for call_id in ("c-1", "c-2")]
    assert [detail.decision is not None for detail in details if detail is not None] == [False, True]
