"""Which tiers have a place to run at all, for alerts: without a task, without slots, without scores."""

from ostler.domain.catalog import TierSpec
from ostler.domain.decision import Rejection
from ostler.domain.fleet import EndpointView, FleetSnapshot
from ostler.domain.policy import Policy
from ostler.routing.filters import outage
from ostler.routing.ladder import ladder_of


def available_tiers(snapshot: FleetSnapshot, policy: Policy, now_ms: int) -> dict[str, bool]:
    """Whether calls may go to each enabled tier that some registered endpoint serves.

    A tier without any such endpoint is not down but absent, and not in the answer. An endpoint that was not checked yet
    is not down either. Cost: at most one look at each (tier, endpoint).
    """
    answer: dict[str, bool] = {}
    for tier in ladder_of(policy.catalog).models:
        for view in _places(tier, snapshot):
            if outage(view, now_ms) in (None, Rejection.UNCHECKED):
                answer[tier.name] = True
                break
            answer[tier.name] = False
    return answer


def _places(tier: TierSpec, snapshot: FleetSnapshot) -> list[EndpointView]:
    names = {name for model in tier.models for name in snapshot.by_model.get(model, ())}
    views = (view for name in names if (view := snapshot.endpoints.get(name)) is not None)
    return [v for v in views if v.spec.enabled and (not tier.providers or v.spec.provider in tier.providers)]
