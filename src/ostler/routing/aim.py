"""Which tier the work asks for: everything in a decision that depends on the task and the policy, not on the fleet.

Steps 1 to 5 of the decision (see `decide`), plus the disabled tiers of step 6, because steps are counted on the enabled
ladder:

1. explicit tier or model: it replaces what classification would ask; the minimum stays in the record;
2. complexity and type each name a minimum tier; the higher one is the request;
3. an override of the type replaces both;
4. history may move the request: down to the cheapest tier that is proven good enough for the type, never below the
   profile's minimum of the type and never for critical work; up from a tier that is proven poor. It never touches an
   override or an explicit choice;
5. repeated errors and proven lack of quality go up, at most `max_quality_steps` together, never beyond the top.

A command, and trivial work that carries one, is `direct`: a type's minimum says which model may take the work, and
none does. Trivial work without a command goes to the lowest model tier, but its availability steps are still counted
from `direct`. A pinned model is not moved by anything.
"""

import msgspec

from ostler.domain.catalog import DIRECT, CostClass, TierSpec
from ostler.domain.decision import Adjustment, Cause, Weighing
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.tasks import Complexity, ErrorCount, TaskFacts, TaskKind
from ostler.routing.history import consult
from ostler.routing.ladder import Ladder
from ostler.routing.signature import signature


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """Where the search for a place begins."""

    direct: bool = False
    """It runs as a command; no model is needed."""
    minimum: str
    """What classification and override ask for."""
    requested: str
    """The minimum, or the explicit choice."""
    start: TierSpec | None = None
    """The enabled model tier after steps 1 to 5; `None` when there is none, see `blocked`."""
    blocked: str = ""
    """Why there is no start."""
    from_direct: bool = False
    """It is trivial work that needs a model: steps of an outage are counted from `direct`."""
    quality_steps: int = 0
    adjustments: tuple[Adjustment, ...] = ()
    weighing: Weighing | None = None
    """How outcomes chose the tier; `None` where they chose nothing."""


class _Walk:
    """The way along the ladder, written down as it is gone."""

    __slots__ = ("adjustments", "tier")

    def __init__(self, tier: TierSpec) -> None:
        self.tier = tier
        self.adjustments: list[Adjustment] = []

    def move(self, tier: TierSpec, cause: Cause, reason: str) -> None:
        if tier.name != self.tier.name:
            change = Adjustment(cause=cause, from_tier=self.tier.name, to_tier=tier.name, reason=reason)
            self.adjustments.append(change)
            self.tier = tier


def find_aim(
    facts: TaskFacts,
    *,
    quality_steps: int,
    errors: tuple[ErrorCount, ...],
    policy: Policy,
    ladder: Ladder,
    explore: bool = True,
) -> Aim:
    """Steps 1 to 5 for one task. Total: what the profile no longer has gives an aim without `start`. `explore`: whether
    there is money for exploring what costs more than the best choice.
    """
    if facts.kind is TaskKind.COMMAND:
        return Aim(direct=True, minimum=DIRECT, requested=DIRECT)
    walk = _minimum(facts, policy.routing, ladder)
    weighing = _history(facts, walk, policy, ladder, explore=explore) if is_open(facts) else None
    minimum = walk.tier
    if facts.tier is not None:
        stated = ladder.find(facts.tier)
        if stated is None:
            return Aim(minimum=minimum.name, requested=facts.tier, blocked=f"the profile has no tier {facts.tier}")
        walk = _Walk(minimum)
        walk.move(stated, Cause.EXPLICIT, f"the task asks for {stated.name}")
    if facts.model is not None:
        return _aim_at_model(facts.model, minimum, walk.tier, ladder)
    requested = walk.tier.name
    if requested == DIRECT and facts.has_command and facts.endpoint is None:
        trace = tuple(walk.adjustments)
        return Aim(direct=True, minimum=minimum.name, requested=DIRECT, adjustments=trace)
    taken = _climb(facts, walk, _quality_steps(facts, quality_steps, errors, policy.routing), ladder)
    index = ladder.index(walk.tier.name) or 0
    return Aim(
        minimum=minimum.name,
        requested=requested,
        start=walk.tier if index else None,
        blocked="" if index else "no tier with models is enabled",
        from_direct=requested == DIRECT,
        quality_steps=taken,
        adjustments=tuple(walk.adjustments),
        weighing=weighing,
    )


def _minimum(facts: TaskFacts, routing: RoutingPolicy, ladder: Ladder) -> _Walk:
    """Steps 2 and 3: the tier of complexity and type, or the override."""
    walk = _Walk(_complexity_tier(facts.classification.complexity, routing, ladder))
    for kind in types_of(facts):
        override = ladder.find(routing.task_overrides.get(kind, ""))
        if override is not None:
            walk.move(override, Cause.OVERRIDE, f"the profile sends {kind} to {override.name}")
            return walk
    for kind in types_of(facts):
        by_type = ladder.find(routing.type_minimums.get(kind, ""))
        if by_type is not None and not (walk.tier.name == DIRECT and _satisfied(by_type, facts, ladder)):
            reason = f"{kind} needs at least {by_type.name}"
            walk.move(ladder.higher(walk.tier, by_type), Cause.CLASSIFICATION, reason)
    return walk


def types_of(facts: TaskFacts) -> tuple[str, ...]:
    """The types whose rules of the profile hold: what the task states or its words name by the tables. What was learned
    of texts is good for choosing among outcomes; it raises and lowers nothing by rule.
    """
    found = facts.classification
    if found.type_source != "learned":
        return (found.task_type,)
    return (found.named_type,) if found.named_type else ()


def is_open(facts: TaskFacts) -> bool:
    """Whether the task leaves the choice to us."""
    return facts.tier is None and facts.model is None and facts.endpoint is None


def _history(facts: TaskFacts, walk: _Walk, policy: Policy, ladder: Ladder, *, explore: bool) -> Weighing | None:
    """Step 4, where the policy has learned something about the type."""
    kinds = types_of(facts)
    overridden = any(ladder.find(policy.routing.task_overrides.get(kind, "")) for kind in kinds)
    if not policy.learned or walk.tier.name == DIRECT or overridden:
        return None
    floors = [tier for kind in kinds if (tier := ladder.find(policy.routing.type_minimums.get(kind, "")))]
    minimum = max(floors, key=lambda tier: ladder.position(tier.name), default=None)
    move = consult(facts, walk.tier, minimum, policy, ladder, explore=explore)
    if move.tier is not None:
        walk.move(move.tier, Cause.HISTORY, move.reason)
    return move.weighing


def _satisfied(by_type: TierSpec, facts: TaskFacts, ladder: Ladder) -> bool:
    """Whether work that asks for no model meets its type's minimum: its command needs none, or any model will do."""
    return facts.has_command or not ladder.models or ladder.higher(ladder.models[0], by_type) is ladder.models[0]


def _complexity_tier(complexity: Complexity, routing: RoutingPolicy, ladder: Ladder) -> TierSpec:
    """The tier a complexity is mapped to; without a mapping: trivial is `direct`, standard the lowest local tier (else
    the lowest one), complex the highest one; unknown is the policy's `unclassified_tier`, else as standard.
    """
    if complexity is Complexity.UNKNOWN:
        unclassified = ladder.find(routing.unclassified_tier)
        return unclassified or _complexity_tier(Complexity.STANDARD, routing, ladder)
    mapped = ladder.find(routing.complexity_tiers.get(complexity, ""))
    if mapped is not None:
        return mapped
    if complexity is Complexity.TRIVIAL or not ladder.models:
        return ladder.steps[0]
    if complexity is Complexity.COMPLEX:
        return ladder.models[-1]
    local = (tier for tier in ladder.models if tier.cost in (CostClass.LOCAL, CostClass.FREE))
    return next(local, ladder.models[0])


def _aim_at_model(model: str, minimum: TierSpec, asked: TierSpec, ladder: Ladder) -> Aim:
    """The tier a pinned model is accounted to: the asked one if it lists the model, else the nearest above, else the
    nearest below. A model of disabled tiers only is refused: disabling is the operator's word.
    """
    listing = [tier for tier in ladder.models if model in tier.models]
    if not listing and ladder.lists(model):
        blocked = f"model {model} belongs to disabled tiers only"
        return Aim(minimum=minimum.name, requested=asked.name, blocked=blocked)
    position = ladder.position(asked.name)
    above = [tier for tier in listing if ladder.position(tier.name) >= position]
    if listing:
        start: TierSpec | None = above[0] if above else listing[-1]
    else:
        start = ladder.settle(asked) if asked.name != DIRECT else ladder.shift(0, 1)
    if start is None:
        return Aim(minimum=minimum.name, requested=asked.name, blocked="no tier with models is enabled")
    walk = _Walk(minimum)
    walk.move(start, Cause.EXPLICIT, f"the task asks for model {model}")
    return Aim(
        minimum=minimum.name,
        requested=start.name,
        start=start,
        adjustments=tuple(walk.adjustments),
    )


def _quality_steps(
    facts: TaskFacts, asked: int, errors: tuple[ErrorCount, ...], routing: RoutingPolicy
) -> tuple[int, int]:
    """Step 5: (steps for repeated errors, all steps), both within the policy's bound."""
    counts: dict[str, int] = {}
    for error in errors:
        counts[error.signature] = counts.get(error.signature, 0) + error.count
    for message in facts.recent_errors:
        name = signature(message)
        counts[name] = counts.get(name, 0) + 1
    threshold = max(1, routing.repeated_error_threshold)
    repeated = min(sum(count // threshold for count in counts.values()), routing.max_quality_steps)
    return repeated, max(repeated, min(asked, routing.max_quality_steps), 0)


def _climb(facts: TaskFacts, walk: _Walk, steps: tuple[int, int], ladder: Ladder) -> int:
    """Settle on an enabled model tier and go up from there; returns the quality steps really taken."""
    if walk.tier.name == DIRECT and ladder.models:
        walk.move(ladder.models[0], Cause.NO_COMMAND, f"{facts.kind} work without a command needs a model")
    settled = ladder.settle(walk.tier)
    if settled is None:
        return 0
    if settled.name != walk.tier.name:
        above = ladder.higher(settled, walk.tier) is settled
        side = "the next tier above takes its work" if above else "nothing above is enabled"
        walk.move(settled, Cause.DISABLED, f"{walk.tier.name} is disabled; {side}")
    start = ladder.index(settled.name) or 0
    top = len(ladder.steps) - 1
    repeated, total = (min(start + count, top) for count in steps)
    walk.move(ladder.steps[repeated], Cause.REPEATED_ERROR, "the same error came back too often")
    walk.move(ladder.steps[total], Cause.QUALITY, "an attempt proved the tier below not capable")
    return total - start
