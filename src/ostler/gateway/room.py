"""How long a prompt may be at most, at the places that a call may use: what the rule `trim` trims to."""

from collections.abc import Iterable, Mapping

from ostler.domain.fleet import EndpointView, Health
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts


def room_for(facts: TaskFacts, policy: Policy, views: Mapping[str, EndpointView]) -> int | None:
    """The largest window among them, in tokens, for prompt and answer together; `None` = one of them is not known to
    be bounded, or there is none.
    """
    rooms = [room for model in _models(facts, policy) for room in _rooms(model, policy, views)]
    known = [room for room in rooms if room is not None]
    return max(known) if known and len(known) == len(rooms) else None


def _models(facts: TaskFacts, policy: Policy) -> tuple[str, ...]:
    if facts.model is not None:
        return (facts.model,)
    tiers = [tier for tier in policy.catalog.tiers if tier.enabled and facts.tier in (None, tier.name)]
    names = dict.fromkeys(model for tier in tiers for model in tier.models)
    return tuple(name for name in names if not facts.only_models or name in facts.only_models)


def _rooms(model: str, policy: Policy, views: Mapping[str, EndpointView]) -> Iterable[int | None]:
    spec = policy.catalog.models.get(model)
    for view in views.values():
        if view.health is not Health.UP or not view.serves(model):
            continue
        said = (view.windows.get(model), view.loaded_context(model), spec.context_tokens if spec is not None else None)
        yield min((limit for limit in said if limit is not None), default=None)
