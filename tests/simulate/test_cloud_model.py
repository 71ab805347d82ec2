"""Limits, prompt cache and prices of a simulated provider."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.simulate.cloud_model import (
    CACHE_TTL_MS,
    MINUTE_MS,
    Bucket,
    CloudModel,
    Limit,
    PromptCache,
    cost_micro_usd,
    timing_of,
)
from ostler.simulate.spec import SimulatedCloudModelSpec, SimulatedCloudSpec

MODEL = SimulatedCloudModelSpec(
    name="m",
    api="openai",
    first_token_ms=100,
    prefill_tokens_per_s=1000,
    decode_tokens_per_s=10,
    input_usd_per_mtok=3.0,
    cached_input_usd_per_mtok=0.3,
    output_usd_per_mtok=15.0,
)
OTHER = SimulatedCloudModelSpec(name="other", api="openai")


def cloud(**limits: int) -> CloudModel:
    return CloudModel(SimulatedCloudSpec(models=(MODEL, OTHER), **limits))  # type: ignore[arg-type]


@given(st.integers(1, 600), st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 4)), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(per_minute: int, takes: list[tuple[int, int]]) -> None:
    """In any stretch of time no more than a full bucket and what refilled meanwhile; and a wait it told is enough."""
    bucket, now_ms, taken = Bucket(per_minute, 0), 0, 0
    for after_ms, units in takes:
        now_ms += after_ms
        wait_ms = bucket.wait_ms(units, now_ms)
        if wait_ms:
            assert Bucket.wait_ms(bucket, units, now_ms + wait_ms) == 0
            now_ms += wait_ms
        bucket.take(units, now_ms)
        taken += min(units, per_minute)

        assert taken <= per_minute + now_ms * per_minute / MINUTE_MS + 1e-6
        assert 0 <= bucket.gauge(now_ms).remaining <= per_minute


def test_requests_are_limited_per_model() -> None:
    """Another model has a limit of its own; the wait is what one request takes to refill."""
    model = cloud(requests_per_minute=2)

    assert [model.admit(MODEL, 1, 0) for _ in range(2)] == [None, None]
    limited = model.admit(MODEL, 1, 0)

    assert limited is not None
    assert (limited.limit, limited.allowed, limited.retry_ms) == (Limit.REQUESTS, 2, 30_000)
    assert model.admit(OTHER, 1, 0) is None
    assert model.admit(MODEL, 1, 30_000) is None


def test_tokens_are_limited_by_the_prompt() -> None:
    """A prompt larger than the whole limit is let in when the bucket is full, or it never would be."""
    model = cloud(tokens_per_minute=1000)

    assert model.admit(MODEL, 600, 0) is None
    limited = model.admit(MODEL, 600, 0)

    assert limited is not None
    assert (limited.limit, limited.requested) == (Limit.TOKENS, 600)
    assert model.admit(MODEL, 5000, MINUTE_MS) is None


def test_calls_under_way_are_limited_over_all_models() -> None:
    """A place is free again when a call ends, however it ends."""
    model = cloud(concurrency=2)
    model.admit(MODEL, 1, 0)
    model.admit(OTHER, 1, 0)

    limited = model.admit(MODEL, 1, 0)
    model.cancel()
    assert model.admit(MODEL, 1, 0) is None
    model.finish(MODEL, 1, 0, 1)
    assert model.admit(MODEL, 1, 0) is None

    assert limited is not None
    assert limited.limit is Limit.CONCURRENCY
    assert (model.under_way, model.counters.calls_limited) == (2, 1)


def test_the_longest_known_prefix_counts_and_is_forgotten_in_time() -> None:
    """The whole prompt is known only after it was read once."""
    cache = PromptCache()
    short, long = [("a", 1024)], [("a", 1024), ("ab", 1152)]

    assert cache.longest(short, 0) == 0
    assert cache.longest(long, 1000) == 1024
    assert cache.longest(long, 2000) == 1152
    assert cache.longest(long, 2001 + CACHE_TTL_MS) == 0


def test_cached_tokens_cost_their_own_price() -> None:
    """Micro-dollars, rounded up."""
    assert cost_micro_usd(MODEL, prompt_tokens=1000, cached_tokens=400, output_tokens=10) == 1800 + 120 + 150
    assert cost_micro_usd(MODEL, prompt_tokens=1, cached_tokens=1, output_tokens=0) == 1


def test_a_call_takes_latency_prompt_and_answer() -> None:
    """A fixed part, then by speed."""
    timing = timing_of(MODEL, prompt_tokens=500, output_tokens=20, delay_ms=7, now_ms=50)

    assert timing.prefilled_ms == 50 + 100 + 500 + 7
    assert timing.ends_ms == timing.prefilled_ms + 2000
