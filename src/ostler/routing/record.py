"""The record of a decision, put together while the steps are gone.

A `Record` collects the trace; `route` and `hold` close it into a verdict. Candidates are recorded best first, then the
refused ones, those likely to become usable by themselves before those that need a person; what exceeds the policy's
bound is counted, not kept.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from ostler.budget.limits import Gate
from ostler.domain.catalog import CostClass, TierSpec
from ostler.domain.decision import (
    Adjustment,
    Candidate,
    Cause,
    Decision,
    Estimate,
    Hold,
    Rejection,
    Route,
    Short,
    TargetType,
)
from ostler.domain.states import Wait, WaitCode
from ostler.routing import gatekeeping, scoring, wording
from ostler.routing.aim import Aim
from ostler.routing.filters import Unfit
from ostler.routing.question import Question
from ostler.routing.scoring import Offer
from ostler.routing.survey import Refusal, Survey

_MOVED_BY_LIMITS = frozenset({WaitCode.BUDGET, WaitCode.ENDPOINT_DOWN, WaitCode.QUOTA_UNTIL, WaitCode.MODEL_SWAP})


class Detour(msgspec.Struct, frozen=True, kw_only=True):
    """That and why the record is about another route than the tier it asked for."""

    reason: str
    from_tier: str
    wait_ms: int = 0
    from_model: str | None = None
    """Set when another of the task's own models stands in for this one."""


class Record:
    """The trace of one decision. `tier` is where it stands."""

    def __init__(self, question: Question, aim: Aim) -> None:
        self.question = question
        self.aim = aim
        self.tier: TierSpec | None = aim.start
        self.adjustments: list[Adjustment] = list(aim.adjustments)
        self.surveys: list[Survey] = []
        self.unfit: list[tuple[str, Unfit]] = []
        self.detour: Detour | None = None
        self._rated: dict[tuple[object, ...], tuple[Mapping[str, float], Estimate]] = {}
        """Terms and estimates of places that have been recorded: most of a large fleet are like one another."""
        request = question.request
        first, now = request.facts.model, question.facts.model
        if now is not None and now != first:
            why = [*request.tried, *question.passed]
            self.stand_in(self.tier, now, "; ".join(why) or "the models before it failed", 0)

    @property
    def spared(self) -> tuple[str, ...]:
        """Models that outcomes speak against."""
        return self.aim.weighing.spared if self.aim.weighing is not None else ()

    @property
    def tier_name(self) -> str:
        """Where the decision stands, or what was asked for when no tier was reached."""
        return self.tier.name if self.tier is not None else self.aim.requested

    def move(self, tier: TierSpec, cause: Cause, reason: str) -> None:
        """Go on to another tier."""
        if tier.name != self.tier_name:
            change = Adjustment(cause=cause, from_tier=self.tier_name, to_tier=tier.name, reason=reason)
            self.adjustments.append(change)
        self.tier = tier

    def stand_in(self, tier: TierSpec | None, model: str, why: str, wait_ms: int) -> None:
        """Go on with another of the task's own models; said also when the tier stays the same."""
        before, facts = self.tier_name, self.question.request.facts
        earlier = self.detour
        if tier is not None:
            change = Adjustment(
                cause=Cause.MODEL, from_tier=before, to_tier=tier.name, reason=f"{why}; next of its models: {model}"
            )
            self.adjustments.append(change)
            self.tier = tier
        reason = why if earlier is None else f"{earlier.reason}; {why}"
        from_model = facts.model or "the tier's choice"
        self.detour = Detour(reason=reason, from_tier=before, wait_ms=wait_ms, from_model=from_model)

    def direct(self) -> Route:
        """A worker runs the command."""
        summary = "Runs as a command on a worker; no model is needed."
        return Route(decision=self._decision(TargetType.DIRECT, CostClass.FREE, summary))

    def worker(self) -> Route:
        """No endpoint is registered: any capable worker, with its own model access."""
        self.detour = Detour(reason="no endpoint is registered: matched by capability alone", from_tier=self.tier_name)
        place = "Runs on any capable worker with the model access of its own"
        summary = f"{place} (tier {self.tier_name}): no endpoint is registered."
        decision = self._decision(TargetType.WORKER, self._cost(), summary)
        return Route(decision=replace(decision, selected_model=self.question.facts.model))

    def route(self, found: Survey) -> Route:
        """The best offer of a survey."""
        chosen = found.best(1)[0]
        view, estimate = chosen.view, scoring.estimate(chosen)
        summary = wording.chosen(chosen, found.tier.name, estimate, len(found.offers) - 1)
        if self.detour is not None:
            summary = f"{summary[:-1]}; fallback from {self.detour.from_model or self.detour.from_tier}."
        target = TargetType.LOCAL if view.spec.local else TargetType.CLOUD
        cost = _cost_class(found.tier, local=view.spec.local)
        decision = replace(
            self._decision(target, cost, summary, chosen),
            selected_endpoint=chosen.endpoint,
            selected_model=chosen.model,
            selected_host=view.spec.host,
            budget=_money(chosen) or self._limits(),
            provider=view.spec.provider,
            candidate_count=len(found.offers),
            estimate=estimate,
            swap_needed=not chosen.warm,
            health_age_ms=_age(self.question.request.now_ms, view.checked_ms),
            load_age_ms=chosen.host.age_ms,
        )
        places = tuple(sorted({name for one in self.surveys for name in one.watch()}))
        return Route(decision=decision, places=places, short=_short(self._refused_by_limits()))

    def swap(self, found: Survey, *, blocked_on: Iterable[str]) -> Hold:
        """It waits until the model of the best offer is loaded, or another place becomes better."""
        chosen = found.best(1)[0]
        detail = wording.to_load(chosen, found.tier.name)
        hold = self.hold(
            WaitCode.MODEL_SWAP, detail, since_ms=self.question.request.queued_ms, blocked_on=blocked_on, chosen=chosen
        )
        decision = replace(
            hold.decision,
            candidate_count=len(found.offers),
            estimate=scoring.estimate(chosen),
            swap_needed=True,
            health_age_ms=_age(self.question.request.now_ms, chosen.view.checked_ms),
            load_age_ms=chosen.host.age_ms,
        )
        return replace(hold, decision=decision, wishes=found.wishes())

    def hold(
        self,
        code: WaitCode,
        detail: str,
        *,
        since_ms: int,
        next_check_ms: int | None = None,
        fallback: tuple[str, str | None] = ("", None),
        blocked_on: Iterable[str] = (),
        chosen: Offer | None = None,
    ) -> Hold:
        """It waits; the record says how far the decision went. `fallback`: tier and own model it will use then."""
        cost = self._cost()
        target = TargetType.LOCAL if cost in (CostClass.LOCAL, CostClass.FREE) else TargetType.CLOUD
        limited = self._refused_by_limits()
        if limited and code in _MOVED_BY_LIMITS:
            moves = [at for gate in limited if (at := gate.resets_ms) is not None]
            next_check_ms = min((at for at in (*moves, next_check_ms) if at is not None), default=None)
        return Hold(
            wait=Wait(code=code, since_ms=since_ms, detail=detail, next_check_ms=next_check_ms),
            decision=replace(
                self._decision(target, cost, wording.waiting(code, detail), chosen), budget=self._limits()
            ),
            limited=bool(limited),
            short=_short(limited),
            alone=any(gate.binding is not None and not gatekeeping.reached(gate.binding) for gate in limited),
            fallback_tier=fallback[0] or None,
            fallback_model=fallback[1],
            blocked_on=tuple(sorted(blocked_on)),
        )

    def _refused_by_limits(self) -> list[Gate]:
        return [place.gate for found in self.surveys for place in found.over_limit() if place.gate is not None]

    def _limits(self) -> str:
        """The limit that kept it from the first place that one did."""
        return gatekeeping.told(next(iter(self._refused_by_limits()), None))

    def _cost(self) -> CostClass:
        return self.tier.cost if self.tier is not None else CostClass.FREE

    def _decision(self, target: TargetType, cost: CostClass, summary: str, chosen: Offer | None = None) -> Decision:
        """What every verdict records."""
        request, policy, facts = self.question.request, self.question.policy, self.question.facts
        candidates, omitted = self._candidates(chosen)
        decision = Decision(
            task_id=facts.id,
            generation=request.generation,
            decided_ms=request.now_ms,
            policy_version=policy.version,
            profile=policy.profile,
            classification=facts.classification,
            classification_reason=facts.classification.reason,
            requested_tier=self.aim.requested,
            minimum_tier=self.aim.minimum,
            effective_tier=self.tier_name,
            target_type=target,
            estimated_cost_tier=cost,
            adjustments=tuple(self.adjustments),
            candidates=candidates,
            candidates_omitted=omitted,
            quality_steps=self.aim.quality_steps,
            weighing=self.aim.weighing,
            handed_tokens=request.handed_tokens,
            results_trimmed=bool(request.handed_tokens) and not self.question.whole,
            summary=summary,
        )
        if self.detour is None:
            return decision
        return replace(
            decision,
            fallback_used=True,
            fallback_reason=self.detour.reason,
            fallback_from_tier=self.detour.from_tier,
            fallback_from_model=self.detour.from_model,
            fallback_wait_ms=self.detour.wait_ms,
        )

    def _candidates(self, chosen: Offer | None) -> tuple[tuple[Candidate, ...], int]:
        """What is recorded, and how many more there were."""
        bound = max(0, self.question.policy.routing.max_recorded_candidates)
        recorded: list[Candidate] = []
        for found in self.surveys:  # only the last one can have offers: it ended the search
            offers = found.best(bound - len(recorded))
            recorded.extend(self._offered(offer, found, is_chosen=offer is chosen) for offer in offers)
        for found in self.surveys:
            nearest = heapq.nsmallest(bound - len(recorded), found.turned_down(), key=wording.nearness)
            recorded.extend(self._refused(place, found) for place in nearest)
        models = self._models_without_place()
        recorded.extend(models[: bound - len(recorded)])
        places = sum(len(found.offers) + len(found.turned_down()) for found in self.surveys)
        return tuple(recorded), places + len(models) - len(recorded)

    def _models_without_place(self) -> list[Candidate]:
        """Models that lost before any place was looked at."""
        unserved = [
            Candidate(
                endpoint=self.question.facts.endpoint or "",
                model=model,
                tier=found.tier.name,
                rejection=Rejection.NOT_SERVED,
                detail=wording.NOT_SERVED if self.question.facts.endpoint is None else wording.NOT_SERVED_THERE,
            )
            for found in self.surveys
            for model in found.unserved
        ]
        unfit = [
            Candidate(endpoint="", model=unfit.model, tier=tier, rejection=unfit.rejection, detail=unfit.detail)
            for tier, unfit in self.unfit
        ]
        return unserved + unfit

    def _offered(self, offer: Offer, found: Survey, *, is_chosen: bool) -> Candidate:
        terms, estimate = self._rated_as(offer)
        return Candidate(
            endpoint=offer.endpoint,
            model=offer.model,
            tier=found.tier.name,
            host=offer.view.spec.host,
            warm=offer.warm,
            score=offer.score,
            terms=terms,
            estimate=estimate,
            rejection=_loss(offer, is_chosen=is_chosen),
            detail="it failed here before, but nothing else is usable" if found.lifted else wording.load(offer),
        )

    def _rated_as(self, offer: Offer) -> tuple[Mapping[str, float], Estimate]:
        """Every term of a place's score, and what it is expected to take; made once for equal places."""
        host, work = offer.host, offer.work
        key = (
            (host.load, host.capacity, host.vram, offer.warm, offer.affine, offer.score),
            (offer.queue_ms, offer.load_ms, work.prefill_ms, work.decode_ms),
            (offer.money_s, offer.cost_micro_usd, offer.swap),
        )
        known = self._rated.get(key)
        if known is None:
            terms = scoring.terms(offer, self.question.policy.routing.weights)
            known = self._rated[key] = terms, scoring.estimate(offer)
        return known

    def _refused(self, place: Refusal, found: Survey) -> Candidate:
        return Candidate(
            endpoint=place.endpoint,
            model=place.model,
            tier=found.tier.name,
            host=place.view.spec.host,
            warm=place.view.residents is not None and place.view.is_warm(place.model),
            rejection=place.rejection,
            detail=wording.refusal_now(place, self.question),
        )


def _money(offer: Offer) -> str:
    """What pays for the chosen place, and the limit that matters most for it."""
    plan = gatekeeping.plan_words(offer.plan) if offer.plan is not None else ""
    return "; ".join(words for words in (plan, gatekeeping.told(offer.gate)) if words)


def _short(gates: Sequence[Gate]) -> tuple[Short, ...]:
    """Parts of limits that did not suffice, though others may give some back, with the smallest that was asked for."""
    least: dict[tuple[str, str], int] = {}
    for one in (one for gate in gates for one in gate.standings if gatekeeping.may_come(one)):
        key = one.limit.name, one.value
        least[key] = min(one.asked, least.get(key, one.asked))
    return tuple(Short(limit, value, least[limit, value]) for limit, value in sorted(least))


def _loss(offer: Offer, *, is_chosen: bool) -> Rejection | None:
    if not is_chosen:
        return Rejection.NOT_CHOSEN
    return Rejection.COLD if offer.swap is not None else None


def _cost_class(tier: TierSpec, *, local: bool) -> CostClass:
    """How the chosen place is paid for: the tier's word, unless the place contradicts it."""
    if local:
        return CostClass.FREE if tier.cost is CostClass.FREE else CostClass.LOCAL
    return CostClass.METERED if tier.cost is CostClass.LOCAL else tier.cost


def _age(now_ms: int, at_ms: int | None) -> int | None:
    return None if at_ms is None else max(0, now_ms - at_ms)
