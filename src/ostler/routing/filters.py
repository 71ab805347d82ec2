"""What can never take a task, and what cannot take it now.

Two levels. `screen` (step 6) looks at a tier: which of its models have the context, the capabilities and the locality,
and may be used by whoever asks; a tier without any is passed over, which is no availability step. `refusal` (step 7)
looks at one place: first what no recovery would change, then what keeps every call away from it for now. Slots and
exclusions are judged by the survey, because they depend on what else there is. A filter that does not know lets pass:
an unknown window or capability refuses nothing.
"""

import msgspec

from ostler.domain.catalog import EndpointKind, ModelSpec, Reach, TierSpec
from ostler.domain.decision import Cause, Rejection
from ostler.domain.fleet import BreakerState, EndpointView, Health
from ostler.domain.policy import ContextRule
from ostler.domain.tasks import TaskFacts, TaskKind
from ostler.routing.question import Question

NEVER = frozenset(
    {
        Rejection.NOT_LOCAL,
        Rejection.PROVIDER,
        Rejection.DISABLED,
        Rejection.MEMORY,
        Rejection.CONTEXT,
        Rejection.UNREACHABLE,
    }
)
"""Refusals of a place that its recovery would not end."""


class Unfit(msgspec.Struct, frozen=True):
    """A model of a tier that cannot take the task wherever it runs."""

    model: str
    rejection: Rejection
    detail: str


class Screen(msgspec.Struct, frozen=True):
    """The models of a tier after step 6."""

    fit: tuple[str, ...]
    unfit: tuple[Unfit, ...] = ()

    @property
    def cause(self) -> Cause:
        """The last hurdle, the one that no model of the tier took; says something only when none is fit."""
        return max((_HURDLES[unfit.rejection] for unfit in self.unfit), default=Cause.CONTEXT, key=_ORDER.index)

    @property
    def reason(self) -> str:
        """Each model's reason."""
        return "; ".join(f"{unfit.model} {unfit.detail}" for unfit in self.unfit) or "the tier has no model"


_HURDLES = {
    Rejection.CONTEXT: Cause.CONTEXT,
    Rejection.CAPABILITY: Cause.CAPABILITY,
    Rejection.NOT_LOCAL: Cause.LOCALITY,
    Rejection.NOT_ALLOWED: Cause.NOT_ALLOWED,
}
_ORDER = tuple(_HURDLES.values())


def unfitness(name: str, model: ModelSpec | None, facts: TaskFacts) -> Unfit | None:
    """Why a model can never take the task; `None` when it can, or when nothing is known that speaks against it."""
    if facts.only_models and name not in facts.only_models:
        return Unfit(name, Rejection.NOT_ALLOWED, "is not among the models that this key may use")
    if model is None:
        return None
    window = model.context_tokens
    if window is not None and facts.context_tokens > window:
        return Unfit(name, Rejection.CONTEXT, f"needs a window of {facts.context_tokens} tokens, has {window}")
    if model.capabilities is not None and not facts.capabilities <= model.capabilities:
        missing = ", ".join(sorted(facts.capabilities - model.capabilities))
        return Unfit(name, Rejection.CAPABILITY, f"cannot do {missing}")
    return None


def screen(tier: TierSpec, question: Question) -> Screen:
    """Step 6 for one tier."""
    catalog, only_tiers = question.policy.catalog, question.facts.only_tiers
    if only_tiers and tier.name not in only_tiers:
        outside = f"belongs to tier {tier.name}, which this key may not use"
        return Screen((), tuple(Unfit(name, Rejection.NOT_ALLOWED, outside) for name in question.models(tier)))
    fit: list[str] = []
    unfit: list[Unfit] = []
    for name in question.models(tier):
        reason = unfitness(name, catalog.models.get(name), question.facts)
        if reason is None:
            fit.append(name)
        else:
            unfit.append(reason)
    if fit and question.facts.local_only and _only_remote(fit, tier, question):
        away = (Unfit(name, Rejection.NOT_LOCAL, "is served by no local endpoint") for name in fit)
        return Screen((), (*unfit, *away))
    return Screen(tuple(fit), tuple(unfit))


def _only_remote(models: list[str], tier: TierSpec, question: Question) -> bool:
    """Whether these models are served, but by no local endpoint. Models that nobody serves are unavailable, not remote:
    a local endpoint may still turn out to have them.
    """
    served = False
    for model in models:
        for name in question.endpoints(model):
            view = question.snapshot.endpoints.get(name)
            if view is None or _barred(view, tier, question) is not None:
                continue
            if view.spec.local:
                return False
            served = True
    return served


def restricts(tier: TierSpec, question: Question) -> bool:
    """Whether `never_reason` may refuse an enabled endpoint at all."""
    return question.facts.local_only or bool(tier.providers)


def never_reason(view: EndpointView, tier: TierSpec, question: Question) -> Rejection | None:
    """Why the endpoint is out of the question for this task on this tier, whatever its state."""
    if question.facts.local_only and not view.spec.local:
        return Rejection.NOT_LOCAL
    return _barred(view, tier, question)


def _barred(view: EndpointView, tier: TierSpec, question: Question) -> Rejection | None:
    """Whether the profile keeps the tier away from the endpoint. A pin is not asked for the tier's providers."""
    pinned = question.facts.model is not None or question.facts.endpoint is not None
    if tier.providers and not pinned and view.spec.provider not in tier.providers:
        return Rejection.PROVIDER
    return None if view.spec.enabled else Rejection.DISABLED


def calls_through_hub(question: Question) -> bool:
    """Whether it is the hub that calls the endpoint, and not a worker beside it."""
    return question.request.live or question.facts.kind is TaskKind.AGENT


def is_unreachable(view: EndpointView, question: Question) -> bool:
    """Whether the hub would have to call an endpoint that it does not reach."""
    if view.spec.reached_by is Reach.HUB:
        return False
    return calls_through_hub(question)


def exceeds_memory(view: EndpointView, model: ModelSpec | None, question: Question) -> bool:
    """Whether the model can never fit into the memory of the endpoint's host. A loaded one has proved that it does."""
    if model is None or model.memory_bytes is None:
        return False
    host = question.policy.catalog.hosts.get(view.spec.host)
    if host is None or host.memory_bytes is None or not view.spec.local:
        return False
    fits = model.memory_bytes <= host.memory_bytes - host.reserve_bytes
    return not fits and not (view.residents is not None and view.is_warm(model.name))


def lacks_room(view: EndpointView, model: str, spec: ModelSpec | None, question: Question) -> bool:
    """Whether a live call needs more context than it would have there: engines cut a prompt that is too long, and most
    do so without a word. Ollama loads with another context when it is asked to; the others have what they started with.
    """
    need, window = question.facts.context_tokens, view.windows.get(model)
    loaded = view.loaded_context(model)
    if view.spec.kind is not EndpointKind.OLLAMA:
        return any(limit is not None and need > limit for limit in (window, loaded))
    if window is not None and need > window:
        return True
    if loaded is None or need <= loaded:
        return False
    # On a managed host every load of a model is with the context that the profile states for it.
    grows = not view.managed or (spec is not None and spec.context_tokens is not None)
    return not grows or question.policy.gateway.context_rule is not ContextRule.RELOAD


def outage(view: EndpointView, now_ms: int) -> Rejection | None:
    """Why no call may go to the endpoint now; `None` when calls may."""
    if view.health is not Health.UP:
        return _UNHEALTHY[view.health]
    if view.breaker is BreakerState.OPEN:
        return Rejection.BREAKER_OPEN
    if view.blocked_until_ms is not None and view.blocked_until_ms > now_ms:
        return Rejection.RATE_LIMITED
    return None


_UNHEALTHY = {
    Health.DOWN: Rejection.DOWN,
    Health.KEY_INVALID: Rejection.KEY_INVALID,
    Health.UNKNOWN: Rejection.UNCHECKED,
}
