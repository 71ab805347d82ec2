"""Keys in memory: who is let in, for what, and until how much is spent."""

import pytest

from ostler.domain.errors import ExitCode, LimitReachedError, NotAllowedError
from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.hub.key_ring import KeyRing
from ostler.hub.tokens import token_hash
from ostler.hub.windows import DAY_MS, window_of
from tests.store.rows_made import make_call, make_key

NOON_MS = 1_700_000_000_000 - 1_700_000_000_000 % DAY_MS + DAY_MS // 2
"""2023-11-14, noon."""
RAW = "ost-" + "x" * 43


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS

    def ring(self, *keys: GatewayKey, **spent: int) -> KeyRing:
        made = KeyRing(lambda: self.now_ms)
        made.load(keys, spent)
        return made


def limited(window: str, limit_micro_usd: int = 100) -> GatewayKey:
    return make_key("laptop", token_hash(RAW), limit_micro_usd=limit_micro_usd, limit_window=window)


def call(cost_micro_usd: int | None, at_ms: int = NOON_MS, key: str = "laptop") -> CallRecord:
    return make_call(at_ms=at_ms, key=key, cost_micro_usd=cost_micro_usd)


@pytest.mark.parametrize("raw", ["", "ost-", RAW + "x", RAW[:-1], RAW.upper(), "x" * 47, token_hash(RAW), "ost-\udc80"])
def test_a_key_that_is_none_opens_nothing(raw: str) -> None:
    """Neither a part of one, nor the hash that is stored, nor what is no text at all."""
    ring = Clock().ring(make_key("laptop", token_hash(RAW)))

    assert ring.find(raw) is None
    assert ring.find(RAW) == make_key("laptop", token_hash(RAW))


def test_a_revoked_key_opens_nothing_at_once() -> None:
    """Neither for who presents it, nor for who found it before; nor when it was revoked before the start."""
    key = make_key("laptop", token_hash(RAW))
    ring = Clock().ring(key)
    found = ring.find(RAW)
    assert found == key
    revoked = make_key("laptop", token_hash(RAW), revoked_ms=NOON_MS)

    ring.put(revoked)

    assert ring.find(RAW) is None
    with pytest.raises(NotAllowedError, match="laptop was revoked"):
        ring.check(key)
    assert Clock().ring(revoked).find(RAW) is None


def test_a_key_without_a_limit_is_never_too_much() -> None:
    """Whatever it has spent."""
    key = make_key("laptop", token_hash(RAW))

    Clock().ring(key, laptop=10**15).check(key)


def test_a_limit_is_reached_when_all_of_it_is_spent() -> None:
    """Up to the last micro-dollar calls go on; then the refusal says limit, spent, and when the day ends."""
    clock, key = Clock(), limited("day")
    ring = clock.ring(key)
    ring.charge(call(99))
    ring.check(key)

    ring.charge(call(4))

    with pytest.raises(LimitReachedError) as caught:
        ring.check(key)
    assert str(caught.value) == (
        "the key laptop has spent $0.000103 of $0.0001 for this day"
        " (its day ends at 2023-11-15 00:00 UTC; until then use another key)"
    )
    assert (caught.value.http_status, caught.value.exit_code) == (429, ExitCode.REFUSED)
    assert caught.value.retry_after_ms == DAY_MS // 2


def test_what_is_not_the_key_s_is_not_charged_to_it() -> None:
    """Calls of unknown price, of no key, of another key."""
    key = limited("day")
    ring = Clock().ring(key)

    for record in (call(None), call(0), call(500, key=""), call(500, key="phone")):
        ring.charge(record)

    assert (ring.use(key).micro_usd, ring.use(key).window) == (0, window_of("day", NOON_MS))
    assert ring.use(key).calls == 2


def test_what_was_spent_before_the_start_counts() -> None:
    """The sum of the store is where the count begins."""
    key = limited("month")
    ring = Clock().ring(key, laptop=99)
    ring.check(key)

    ring.charge(call(1))

    with pytest.raises(LimitReachedError, match="for this month"):
        ring.check(key)


@pytest.mark.parametrize(("window", "length_ms"), [("day", DAY_MS // 2), ("month", 17 * DAY_MS)])
def test_a_new_window_begins_at_nothing(window: str, length_ms: int) -> None:
    """At its first instant, not before; calls that came in before it count for the one that is over."""
    clock, key = Clock(), limited(window)
    ring = clock.ring(key, laptop=100)
    clock.now_ms = window_of(window, NOON_MS).ends_ms or 0
    clock.now_ms -= 1
    with pytest.raises(LimitReachedError):
        ring.check(key)

    clock.now_ms += 1
    ring.charge(call(100, at_ms=NOON_MS))
    ring.check(key)

    assert clock.now_ms - NOON_MS <= length_ms
    ring.charge(call(100, at_ms=clock.now_ms))
    with pytest.raises(LimitReachedError):
        ring.check(key)


def test_a_limit_in_all_never_ends() -> None:
    """The remedy is another key, and there is no time to come back at."""
    clock, key = Clock(), limited("total")
    ring = clock.ring(key, laptop=100)
    clock.now_ms += 1_000 * DAY_MS

    with pytest.raises(LimitReachedError, match=r"\$0.0001 of \$0.0001 in all") as caught:
        ring.check(key)

    assert caught.value.retry_after_ms is None
    assert ring.use(key).window.ends_ms is None


def test_a_new_key_has_spent_nothing() -> None:
    """One that was made after the start is charged like the others."""
    key = limited("day")
    ring = Clock().ring()

    ring.put(key)
    ring.check(key)
    ring.charge(call(100))

    assert ring.use(key).micro_usd == 100


def test_calls_are_counted_whatever_they_cost() -> None:
    """From what the store knew on; the newest is the one that came in last, not the one that ended last."""
    key = limited("day")
    ring = KeyRing(lambda: NOON_MS)
    ring.load([key], {}, KeySpend(since_ms=0, calls={"laptop": 40}, last_ms={"laptop": 7}))
    assert (ring.use(key).calls, ring.use(key).last_ms) == (40, 7)

    for at_ms in (NOON_MS, NOON_MS - 5):
        ring.charge(call(None, at_ms=at_ms))

    assert (ring.use(key).calls, ring.use(key).last_ms) == (42, NOON_MS)
    assert ring.every_key() == [key]
