"""What a task takes on a model at a place: time to load, wait, read and write, and money. Milliseconds, micro-dollars.

What depends on the model alone is computed once for each model (`Work`); loading and waiting depend on the place, and
so do reading and writing where speeds were measured. What the author expects goes before both. On a managed host the
scheduler knows what a load takes (`FleetSnapshot.swaps`); `load_time_ms` is for the others, whose engine swaps by
itself when it is called.

Unknown is never free and never best: an unknown price counts as the dearest known one, but at least
`UNKNOWN_INPUT_USD_PER_MTOK` and `UNKNOWN_OUTPUT_USD_PER_MTOK`. Work on local endpoints, on a free tier or under a
subscription costs nothing more.
"""

import msgspec

from ostler.domain.catalog import Catalog, CostClass, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.domain.fleet import EndpointView
from ostler.domain.money import MICRO_USD_PER_USD, tokens_cost_micro_usd
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.tasks import TaskFacts

UNKNOWN_INPUT_USD_PER_MTOK = 15.0
UNKNOWN_OUTPUT_USD_PER_MTOK = 75.0
_DEFAULT_SPEEDS = Speeds()


class Work(msgspec.Struct, frozen=True, gc=False):
    """What the task takes on one model, wherever it runs."""

    prefill_ms: int
    decode_ms: int
    load_ms: int
    cost_micro_usd: int | None
    """Where calls are paid for; `None` = no price is known."""
    money_s: float
    """The same in seconds of waiting, with the conservative price where none is known."""

    @property
    def call_ms(self) -> int:
        """The call itself, on an idle place with the model loaded."""
        return self.prefill_ms + self.decode_ms


def work_on(model: ModelSpec | None, tier: TierSpec, facts: TaskFacts, policy: Policy) -> Work:
    """What one task takes on one model. A model the catalogue does not know has default speeds and no price."""
    routing, catalog = policy.routing, policy.catalog
    speeds = model.speeds if model is not None else _DEFAULT_SPEEDS
    output_tokens = facts.output_tokens if facts.output_tokens is not None else routing.default_output_tokens
    cost = _cost(model, tier, facts.prompt_tokens, output_tokens)
    priced = cost if cost is not None else _conservative(catalog, facts.prompt_tokens, output_tokens)
    minute = max(routing.minute_price_usd, 1.0 / MICRO_USD_PER_USD)
    prefill_ms, decode_ms = _call_ms(speeds, facts, output_tokens)
    return Work(
        prefill_ms=prefill_ms,
        decode_ms=decode_ms,
        load_ms=int(speeds.load_s * 1000),
        cost_micro_usd=cost,
        money_s=priced / MICRO_USD_PER_USD * 60.0 / minute,
    )


def at_speeds(work: Work, speeds: Speeds, facts: TaskFacts, routing: RoutingPolicy) -> Work:
    """The same work where the speeds are others than the model's own: measured ones."""
    output_tokens = facts.output_tokens if facts.output_tokens is not None else routing.default_output_tokens
    prefill_ms, decode_ms = _call_ms(speeds, facts, output_tokens)
    return msgspec.structs.replace(work, prefill_ms=prefill_ms, decode_ms=decode_ms, load_ms=int(speeds.load_s * 1000))


def _call_ms(speeds: Speeds, facts: TaskFacts, output_tokens: int) -> tuple[int, int]:
    """Reading and writing. Where the author says how long it takes, all of it counts as writing: an agent's work is
    many calls, of which tokens of one prompt tell nothing.
    """
    if facts.expected_ms is not None:
        return 0, facts.expected_ms
    prefill_ms = speeds.first_token_ms + _ms(facts.prompt_tokens, speeds.prefill_tokens_per_s)
    return prefill_ms, _ms(output_tokens, speeds.decode_tokens_per_s)


def _ms(tokens: int, tokens_per_s: float) -> int:
    return int(tokens * 1000 / tokens_per_s) if tokens_per_s > 0 else 0


def _cost(model: ModelSpec | None, tier: TierSpec, input_tokens: int, output_tokens: int) -> int | None:
    if tier.cost in (CostClass.FREE, CostClass.SUBSCRIPTION):
        return 0
    if model is None or model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None
    into = tokens_cost_micro_usd(input_tokens, model.input_usd_per_mtok)
    return into + tokens_cost_micro_usd(output_tokens, model.output_usd_per_mtok)


def _conservative(catalog: Catalog, input_tokens: int, output_tokens: int) -> int:
    """What the call would cost at the dearest prices known."""
    models = catalog.models.values()
    into = max((model.input_usd_per_mtok or 0.0 for model in models), default=0.0)
    out = max((model.output_usd_per_mtok or 0.0 for model in models), default=0.0)
    cost = tokens_cost_micro_usd(input_tokens, max(into, UNKNOWN_INPUT_USD_PER_MTOK))
    return cost + tokens_cost_micro_usd(output_tokens, max(out, UNKNOWN_OUTPUT_USD_PER_MTOK))


def is_warm(view: EndpointView, model: str, context_tokens: int) -> bool:
    """Whether the model can answer without loading: loaded, at a context that is large enough.

    A loaded model with a smaller context is loaded anew by the engine.
    """
    if view.residents is None:
        return True
    for resident in view.residents:
        if resident.model == model and (resident.context_tokens is None or resident.context_tokens >= context_tokens):
            return True
    return False


def load_time_ms(
    view: EndpointView, model: ModelSpec | None, host: HostSpec | None, catalog: Catalog, work: Work
) -> int:
    """Time until a cold model is loaded there.

    Its own load time, and the slowest unload among the loaded models when the host has no room beside them.
    """
    residents = view.residents or ()
    if not residents or host is None or not _crowded(view, model, host, catalog):
        return work.load_ms
    known = (catalog.models.get(resident.model) for resident in residents)
    unload_s = max((spec.speeds if spec is not None else _DEFAULT_SPEEDS).unload_s for spec in known)
    return work.load_ms + int(1000 * unload_s)


def _crowded(view: EndpointView, model: ModelSpec | None, host: HostSpec, catalog: Catalog) -> bool:
    residents = view.residents or ()
    if host.max_resident_models is not None and len(residents) >= host.max_resident_models:
        return True
    if host.memory_bytes is None or model is None or model.memory_bytes is None:
        return False
    used = 0
    for resident in residents:
        known = catalog.models.get(resident.model)
        used += resident.size_bytes or (known.memory_bytes if known is not None else None) or 0
    return used + model.memory_bytes > host.memory_bytes - host.reserve_bytes


def queue_ms(in_flight: int, slots: int, work: Work) -> int:
    """Expected delay by the calls in flight: each is worth its 1/slots share of a call.

    Within the slots that is the share of the engine it takes, beyond them the wait in line. A call of others is taken
    to be as long as this one.
    """
    return in_flight * work.call_ms // slots if in_flight else 0
