"""The one bundle of inputs that the steps of a decision read: who asks, the fleet, the rules."""

import msgspec

from ostler.domain.catalog import TierSpec, normal_model
from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts
from ostler.routing.ladder import Ladder


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request on a snapshot under a policy. Made once for each decision."""

    request: RouteRequest
    facts: TaskFacts
    snapshot: FleetSnapshot
    policy: Policy
    ladder: Ladder
    excluded: frozenset[str]
    """`endpoint` or `endpoint/model` where the last attempt failed."""

    def models(self, tier: TierSpec) -> tuple[str, ...]:
        """The models to look at on a tier: the pinned one, else the tier's own in order."""
        return (self.facts.model,) if self.facts.model is not None else tier.models

    def endpoints(self, model: str) -> tuple[str, ...]:
        """Names of the endpoints to look at for a model: those that serve it, or the pinned one if it does."""
        serving = self.snapshot.by_model.get(model, ())
        pinned = self.facts.endpoint
        if pinned is None:
            return serving
        view = self.snapshot.endpoints.get(pinned)
        return (pinned,) if view is not None and view.serves(model) else ()


def ask(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy, ladder: Ladder) -> Question:
    """Bundle the inputs."""
    return Question(
        request=request,
        facts=request.facts,
        snapshot=snapshot,
        policy=policy,
        ladder=ladder,
        excluded=frozenset(map(normal_model, request.excluded)),
    )
