"""How a simulated provider admits, caches and counts. Pure: events with `now_ms` in, an admission or a limit out.

Each model has two buckets that refill evenly over a minute, one of requests and one of tokens (prompt tokens as sent;
the answer is not charged, as with the providers' input limits). Concurrency is counted over all models. The prompt
cache remembers prefixes for `CACHE_TTL_MS` after their last use. O(1) per call, O(prefixes of the prompt) in the cache.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from ostler.simulate.reply import digest_of
from ostler.simulate.spec import SimulatedCloudModelSpec, SimulatedCloudSpec
from ostler.simulate.timing import Timing, duration_ms

MINUTE_MS = 60_000
CACHE_TTL_MS = 5 * MINUTE_MS
CACHE_ENTRIES_MAX = 4096
CACHE_TOKENS_MIN = 1024
CONCURRENCY_RETRY_MS = 1000
ROUNDING = 1e-9
"""Units that a level in floating point may be short by without being short."""


class Limit(StrEnum):
    """Which limit a call would break."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


class Limited(msgspec.Struct, frozen=True, kw_only=True):
    """Not now: `limit` is used up for another `retry_ms` of modelled time."""

    limit: Limit
    allowed: int
    requested: int
    retry_ms: int


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a limit, and how long until it is whole again."""

    allowed: int
    remaining: int
    reset_ms: int


class Bucket:
    """`per_minute` units, refilled evenly, never more than that."""

    def __init__(self, per_minute: int, now_ms: int) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._at_ms = now_ms

    def wait_ms(self, units: int, now_ms: int) -> int:
        """How long until `units` are there; 0 = now. More than the bucket holds counts as a full bucket."""
        self._refill(now_ms)
        missing = min(units, self._per_minute) - self._level
        return 0 if missing <= ROUNDING else math.ceil(missing * MINUTE_MS / self._per_minute)

    def take(self, units: int, now_ms: int) -> None:
        """Use up `units`."""
        self._refill(now_ms)
        self._level = max(0.0, self._level - units)

    def gauge(self, now_ms: int) -> Gauge:
        """What is left."""
        self._refill(now_ms)
        reset_ms = math.ceil((self._per_minute - self._level) * MINUTE_MS / self._per_minute)
        return Gauge(allowed=self._per_minute, remaining=int(self._level), reset_ms=reset_ms)

    def _refill(self, now_ms: int) -> None:
        elapsed_ms = max(0, now_ms - self._at_ms)
        self._level = min(float(self._per_minute), self._level + elapsed_ms * self._per_minute / MINUTE_MS)
        self._at_ms += elapsed_ms


class PromptCache:
    """Prefixes that were read lately. Bounded: the one used longest ago goes first."""

    def __init__(self) -> None:
        self._used_ms: OrderedDict[str, int] = OrderedDict()

    def longest(self, prefixes: Iterable[tuple[str, int]], now_ms: int) -> int:
        """Tokens of the longest known prefix, of `(text, tokens)` pairs from short to long; all are remembered."""
        known_tokens = 0
        for text, tokens in prefixes:
            key = digest_of(text, size=32)
            used_ms = self._used_ms.pop(key, None)
            if used_ms is not None and now_ms - used_ms <= CACHE_TTL_MS:
                known_tokens = tokens
            self._used_ms[key] = now_ms
        while len(self._used_ms) > CACHE_ENTRIES_MAX:
            self._used_ms.popitem(last=False)
        return known_tokens


class CloudCounters(msgspec.Struct, kw_only=True):
    """What happened so far. `cost_micro_usd` is informative."""

    calls_finished: int = 0
    calls_cancelled: int = 0
    calls_limited: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0


class CloudModel:
    """The admission of one simulated provider."""

    def __init__(self, spec: SimulatedCloudSpec, *, now_ms: int = 0) -> None:
        self.counters = CloudCounters()
        self.cache = PromptCache()
        self.under_way = 0
        self._spec = spec
        names = {(model.api, model.name) for model in spec.models}
        self._requests = {name: Bucket(spec.requests_per_minute, now_ms) for name in names}
        self._tokens = {name: Bucket(spec.tokens_per_minute, now_ms) for name in names}

    def admit(self, model: SimulatedCloudModelSpec, prompt_tokens: int, now_ms: int) -> Limited | None:
        """Let a call in (`None`), which then is under way until `finish` or `cancel`; or say what is used up."""
        key = (model.api, model.name)
        requests, tokens = self._requests[key], self._tokens[key]
        limited: Limited | None = None
        if self.under_way >= self._spec.concurrency:
            limited = _limited(Limit.CONCURRENCY, self._spec.concurrency, 1, CONCURRENCY_RETRY_MS)
        elif wait_ms := requests.wait_ms(1, now_ms):
            limited = _limited(Limit.REQUESTS, self._spec.requests_per_minute, 1, wait_ms)
        elif wait_ms := tokens.wait_ms(prompt_tokens, now_ms):
            limited = _limited(Limit.TOKENS, self._spec.tokens_per_minute, prompt_tokens, wait_ms)
        if limited is not None:
            self.counters.calls_limited += 1
            return limited
        requests.take(1, now_ms)
        tokens.take(prompt_tokens, now_ms)
        self.under_way += 1
        return None

    def gauges(self, model: SimulatedCloudModelSpec, now_ms: int) -> tuple[Gauge, Gauge]:
        """What is left of the requests and of the tokens of a model."""
        key = (model.api, model.name)
        return self._requests[key].gauge(now_ms), self._tokens[key].gauge(now_ms)

    def finish(
        self, model: SimulatedCloudModelSpec, prompt_tokens: int, cached_tokens: int, output_tokens: int
    ) -> None:
        """A call has all its tokens."""
        self.under_way -= 1
        counters = self.counters
        counters.calls_finished += 1
        counters.prompt_tokens += prompt_tokens
        counters.cached_tokens += cached_tokens
        counters.output_tokens += output_tokens
        counters.cost_micro_usd += cost_micro_usd(model, prompt_tokens, cached_tokens, output_tokens)

    def cancel(self) -> None:
        """A client hung up, or its call was broken off."""
        self.under_way -= 1
        self.counters.calls_cancelled += 1


def cost_micro_usd(model: SimulatedCloudModelSpec, prompt_tokens: int, cached_tokens: int, output_tokens: int) -> int:
    """What a call would cost, rounded up; a price per million tokens is a price in micro-dollars per token."""
    fresh_tokens = prompt_tokens - cached_tokens
    return math.ceil(
        fresh_tokens * model.input_usd_per_mtok
        + cached_tokens * model.cached_input_usd_per_mtok
        + output_tokens * model.output_usd_per_mtok
    )


def timing_of(
    model: SimulatedCloudModelSpec, prompt_tokens: int, output_tokens: int, delay_ms: int, now_ms: int
) -> Timing:
    """The plan of a call that starts now: a fixed latency, the prompt, then the answer."""
    return Timing(
        submitted_ms=now_ms,
        attached_ms=now_ms,
        started_ms=now_ms,
        prefill_ms=model.first_token_ms + duration_ms(prompt_tokens, model.prefill_tokens_per_s) + delay_ms,
        decode_ms=duration_ms(output_tokens, model.decode_tokens_per_s),
    )


def _limited(limit: Limit, allowed: int, requested: int, retry_ms: int) -> Limited:
    return Limited(limit=limit, allowed=allowed, requested=requested, retry_ms=retry_ms)
