"""The one bundle of inputs that the steps of a decision read: who asks, the fleet, the rules."""

import msgspec
from msgspec.structs import replace

from ostler.domain.catalog import TierSpec, normal_model
from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts
from ostler.routing.effective import effective
from ostler.routing.ladder import Ladder


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request on a snapshot under a policy. Made once for each decision."""

    request: RouteRequest
    facts: TaskFacts
    """As they are at this point of its life (see `effective`)."""
    snapshot: FleetSnapshot
    policy: Policy
    ladder: Ladder
    excluded: frozenset[str]
    """`endpoint` or `endpoint/model` where the last attempt failed."""
    whole: bool = True
    """Whether the results of needed tasks must fit in whole."""
    passed: tuple[str, ...] = ()
    """Why the models of the task that come before this one cannot take it, in words."""

    def about(self, model: str) -> "Question":
        """The same question about another of the task's own models."""
        facts = replace(self.facts, model=model, fallback_models=())
        return replace(self, facts=facts)

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


def ask(
    request: RouteRequest,
    snapshot: FleetSnapshot,
    policy: Policy,
    ladder: Ladder,
    *,
    step: int = 0,
    whole: bool = True,
    passed: tuple[str, ...] = (),
) -> Question:
    """Bundle the inputs. `step`: which of the task's models it is about."""
    return Question(
        request=request,
        facts=effective(request.facts, model_step=step, handed_tokens=request.handed_tokens, whole=whole),
        snapshot=snapshot,
        policy=policy,
        ladder=ladder,
        excluded=frozenset(map(normal_model, request.excluded)),
        whole=whole,
        passed=passed,
    )
