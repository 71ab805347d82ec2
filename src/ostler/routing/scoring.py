"""How good a place is: one figure in comparable units, made of named terms.

    load_score = load x capacity x vram x warm x affinity      how much of a standard machine is free there
    finish_s   = queue + load_time + prefill + decode           what an idle standard machine would take
    money_s    = expected cost / price of a minute x 60         what the money is worth in waiting
    cost_s     = finish_s / load_score + money_s                time stretches with load, money does not
    score      = 1 / cost_s                                     written load_score / (finish_s + load_score x money_s)

Monotone by construction: more load, more calls in flight, a cold model or a higher price never raise a score. Warmness
counts twice on purpose: 15 % by the load score, and the seconds of loading in `finish_s`, which is what lets a busy
warm host beat an idle cold one. Unknown load counts as half a processor, a report that is too old as unknown.

Complexity: the factors of a host are computed once for each host (`HostLoad`), the work once for each model (`effort`);
a place then costs a handful of multiplications. Terms by name are made only for the places that are recorded.
"""

from collections.abc import Mapping

import msgspec

from ostler.budget.limits import Gate
from ostler.budget.subscriptions import SubscriptionStanding
from ostler.domain.decision import Estimate
from ostler.domain.fleet import GIB, EndpointView, HostReport, SwapEstimate
from ostler.domain.policy import RoutingPolicy, ScoreWeights
from ostler.routing.effort import Work

MIN_FINISH_MS = 1
"""No place is faster than this, so that a score stays finite."""
_TOLERANCE = 1e-9


class HostLoad(msgspec.Struct, frozen=True, gc=False):
    """The factors of one host; 1.0 is an idle standard machine. `age_ms` is `None` without a report."""

    load: float
    capacity: float
    vram: float
    age_ms: int | None = None

    @property
    def product(self) -> float:
        """The load score before warmness and affinity."""
        return self.load * self.capacity * self.vram


class Offer(msgspec.Struct, gc=False):
    """One place that could take the task now."""

    endpoint: str
    model: str
    order: int
    """Place of the model in its tier's list."""
    view: EndpointView
    host: HostLoad
    work: Work
    warm: bool
    queue_ms: int
    load_ms: int
    """Until the model can be used there: waiting for memory, unloading and loading."""
    swap: SwapEstimate | None = None
    """On a managed host, where the model has to be loaded before a call may go there."""
    affine: bool = False
    score: float = 0.0
    gate: Gate | None = None
    """What the limits of the budget say; `None` where none is asked."""
    plan: SubscriptionStanding | None = None
    """The subscription that pays for it, if one does."""

    @property
    def finish_ms(self) -> int:
        """Expected time to the last token on an idle standard machine."""
        return max(MIN_FINISH_MS, self.queue_ms + self.load_ms + self.work.prefill_ms + self.work.decode_ms)

    @property
    def money_s(self) -> float:
        """What the call costs there, in seconds of waiting. What a subscription still has in time costs nothing; what
        is ahead of its pace is worth what it would cost elsewhere.
        """
        plan = self.plan
        return 0.0 if self.view.spec.local or (plan is not None and plan.preferred) else self.work.money_s

    @property
    def cost_micro_usd(self) -> int | None:
        """What the call adds to what is spent; `None` = no price is known."""
        return 0 if self.view.spec.local or self.plan is not None else self.work.cost_micro_usd

    @property
    def is_metered(self) -> bool:
        """Whether it is paid by the token."""
        return self.plan is None and not self.view.spec.local


def host_load(report: HostReport | None, now_ms: int, routing: RoutingPolicy) -> HostLoad:
    """The factors of a host; what is not reported, or reported too long ago, counts as unknown."""
    weights = routing.weights
    age_ms = None if report is None else max(0, now_ms - report.at_ms)
    if report is None or age_ms is None or age_ms > routing.report_stale_ms:
        return HostLoad(1.0 - _share(weights.unknown_cpu_percent), 1.0, weights.vram_unknown, age_ms)
    cpu = weights.unknown_cpu_percent if report.cpu_percent is None else report.cpu_percent
    return HostLoad(1.0 - _share(cpu), _capacity(report, weights), _vram(report, weights), age_ms)


def _share(percent: float) -> float:
    return min(max(percent / 100.0, 0.0), 1.0)


def _capacity(report: HostReport, weights: ScoreWeights) -> float:
    if not report.ram_total_bytes:
        return 1.0
    return min(report.ram_total_bytes / (weights.capacity_unit_gib * GIB), weights.capacity_max)


def _vram(report: HostReport, weights: ScoreWeights) -> float:
    if not report.vram_total_bytes or report.vram_used_bytes is None:
        return weights.vram_unknown
    free = min(max(1.0 - report.vram_used_bytes / report.vram_total_bytes, 0.0), 1.0)
    return weights.vram_floor + weights.vram_span * free


def load_score(host: HostLoad, *, warm: bool, affine: bool, weights: ScoreWeights) -> float:
    """How much of a standard machine is free for the task on this host."""
    return host.product * (weights.warm if warm else 1.0) * (weights.affinity if affine else 1.0)


def rate(offer: Offer, weights: ScoreWeights) -> None:
    """Fill in the score of an offer: the formula above, written out because it runs for every place."""
    host, work = offer.host, offer.work
    product = host.load * host.capacity * host.vram
    if offer.warm:
        product *= weights.warm
    if offer.affine:
        product *= weights.affinity
    finish_ms = offer.queue_ms + offer.load_ms + work.prefill_ms + work.decode_ms or MIN_FINISH_MS
    money_s = offer.money_s
    offer.score = product / (finish_ms / 1000.0 + product * money_s)


def favour_repo_host(offers: list[Offer], host: str | None, weights: ScoreWeights) -> None:
    """Soft affinity: the host that worked on the same repo last gets its factor.

    Only where its load factor is at most the share `affinity_similarity` below the best one among the offers.
    """
    if host is None or not offers:
        return
    bar = max(offer.host.load for offer in offers) * (1.0 - weights.affinity_similarity) - _TOLERANCE
    for offer in offers:
        if offer.view.spec.host == host and offer.host.load >= bar:
            offer.affine = True
            rate(offer, weights)


def estimate(offer: Offer) -> Estimate:
    """What the place is expected to take, as recorded."""
    return Estimate(
        queue_ms=offer.queue_ms,
        load_ms=offer.load_ms,
        prefill_ms=offer.work.prefill_ms,
        decode_ms=offer.work.decode_ms,
        cost_micro_usd=offer.cost_micro_usd,
    )


def terms(offer: Offer, weights: ScoreWeights) -> Mapping[str, float]:
    """Every factor and addend of the score by name; seconds end in `_s`."""
    # A host without any free capacity has no finite cost: the term is left out, the score is 0.
    cost = {"cost_s": 1.0 / offer.score} if offer.score > 0 else {}
    return {
        "load": offer.host.load,
        "capacity": offer.host.capacity,
        "vram": offer.host.vram,
        "warm": weights.warm if offer.warm else 1.0,
        "affinity": weights.affinity if offer.affine else 1.0,
        "load_score": load_score(offer.host, warm=offer.warm, affine=offer.affine, weights=weights),
        "queue_s": offer.queue_ms / 1000.0,
        "load_time_s": offer.load_ms / 1000.0,
        **_swap_terms(offer.swap),
        "prefill_s": offer.work.prefill_ms / 1000.0,
        "decode_s": offer.work.decode_ms / 1000.0,
        "finish_s": offer.finish_ms / 1000.0,
        "money_s": offer.money_s,
        **cost,
    }


def _swap_terms(swap: SwapEstimate | None) -> Mapping[str, float]:
    """What `load_time_s` is made of, where the scheduler does the loading."""
    if swap is None:
        return {}
    return {
        "swap_wait_s": swap.wait_ms / 1000.0,
        "unload_s": swap.unload_ms / 1000.0,
        "load_s": swap.load_ms / 1000.0,
    }
