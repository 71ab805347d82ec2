"""The decision: which place runs a task now, or why none does and what happens next.

`decide` is pure, total and deterministic. The steps, in order; each leaves its trace in the record:

 1. explicit choice: a command is `direct`; a pinned model or endpoint is the only one looked at; a stated tier is the
    request. None of them is ever replaced by another step; a stated tier may be left only for the causes below
 2. classification: complexity and type each name a minimum tier, the higher one is the request
 3. overrides of the profile for the type
 4. history: what outcomes proved of the type (in the policy) moves the request; never an explicit choice, never below a
    minimum of the profile. What they speak against is left out at 7 while another model of the tier can be used
 5. repeated errors and proven lack of quality: up, at most `max_quality_steps`            (1 to 5: module `aim`)
 6. disabled tiers are not on the ladder; tiers without context, capability or locality are passed over upward
 7. candidates of the tier: filter, score, pick; all slots taken is a wait, never a reason to leave the tier
 8. no usable place: wait `fallback_wait_ms`, then the next of the task's own models that has one; else one tier in the
    policy's direction, never two
 9. budget: each paid place is asked about, also those of step 8 (`gatekeeping`). At a soft limit work goes one tier
    down where something cheaper can take it, at a hard one to what costs nothing, else it waits for the limit. An
    explicit choice is never replaced: it may pass soft limits, and waits at hard ones. Module `spending`
10. residency: the time to load, and to unload what is in the way, is part of the score. On a managed host no call goes
    to a model that is not loaded: when such a place is the best one, the task waits for the load
11. nothing left: a hold, whose code says what ends it. Commands are decided at step 1 and never wait here

No registered endpoint at all is no outage: any capable worker may take the task, with the model access of its own.
Local-only work is held instead, on this path too: what a worker's own access reaches is not known.
"""

from msgspec.structs import replace

from ostler.domain.catalog import TierSpec
from ostler.domain.decision import Cause, Hold, RouteRequest, Verdict
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.policy import ContextRule, Policy
from ostler.domain.states import WaitCode
from ostler.routing import wording
from ostler.routing.aim import find_aim
from ostler.routing.effective import chain, step_of
from ostler.routing.fallback import Fallback, Target, find_fallback
from ostler.routing.filters import Screen, screen
from ostler.routing.ladder import Ladder, ladder_of
from ostler.routing.question import Question, ask
from ostler.routing.record import Detour, Record
from ostler.routing.spending import below, within_limits
from ostler.routing.survey import Survey, Surveyor


def decide(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy, *, ladder: Ladder | None = None) -> Verdict:
    """Route the task, or say why it waits. Raises nothing for any well-typed input.

    A model of the task that can never take it gives way to the next one that it names; where no model has room for
    the results of needed tasks, they are cut. Both only when there is no route otherwise. `ladder`: that of
    the policy, for who has it already.
    """
    ladder = ladder or ladder_of(policy.catalog)
    models = chain(request.facts)
    step = step_of(request.facts, request.model_step)
    passed: tuple[str, ...] = ()
    first = verdict = _decide_at(request, snapshot, policy, ladder, step, passed)
    while _is_no_route(verdict) and step + 1 < len(models):
        passed = (*passed, f"{models[step] or 'its tier'} cannot take it: {_detail(verdict)}")
        step += 1
        verdict = _decide_at(request, snapshot, policy, ladder, step, passed)
    return first if _is_no_route(verdict) else verdict


def _decide_at(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy, ladder: Ladder, step: int, passed: tuple[str, ...]
) -> Verdict:
    """For one of the models that the task names: with all results whole, else with as much of them as fits."""
    verdict = _decide(ask(request, snapshot, policy, ladder, step=step, passed=passed))
    if request.handed_tokens and _is_no_route(verdict):
        cut = _decide(ask(request, snapshot, policy, ladder, step=step, whole=False, passed=passed))
        return verdict if _is_no_route(cut) else cut
    return verdict


def _is_no_route(verdict: Verdict) -> bool:
    return isinstance(verdict, Hold) and verdict.wait.code is WaitCode.NO_ROUTE


def _detail(verdict: Verdict) -> str:
    return verdict.wait.detail if isinstance(verdict, Hold) else ""


def _decide(question: Question) -> Verdict:
    """The steps, for one of the models that the task names."""
    request, snapshot, policy, ladder = question.request, question.snapshot, question.policy, question.ladder
    facts = question.facts
    aim = find_aim(
        facts,
        quality_steps=request.quality_steps,
        errors=request.errors,
        policy=policy,
        ladder=ladder,
        explore=snapshot.explore,
    )  # 1 to 5
    record = Record(question, aim)
    if aim.direct:
        return record.direct()
    if aim.start is None:
        return _no_route(record, aim.blocked)
    if not snapshot.endpoints and facts.endpoint is None:
        if request.live:
            return _no_route(record, "no endpoint is registered")
        if not facts.local_only:
            return record.worker()
        return _no_route(record, "no endpoint is registered, and what a worker's own access reaches may not be local")
    screened = _pass_over(record, aim.start)  # 6
    if screened is None:
        return _no_route(record, _unfit_detail(record))
    surveyor = Surveyor(question, record.spared)
    found = surveyor.survey(record.tier or aim.start, screened)  # 7, 10
    record.surveys.append(found)
    within = within_limits(record, surveyor, found)  # 9
    if within.available:
        return _take(record, within)
    return _unavailable(record, found)  # 8, 11


def _take(record: Record, found: Survey) -> Verdict:
    """Steps 7 and 10: the best place of an available tier, now or when its model is loaded, or the wait for a slot."""
    if not found.offers:
        return _full(record, found)
    if found.best(1)[0].swap is None:
        return record.route(found)
    # What is loaded already serves first when it is only full: another copy is the scheduler's to weigh.
    return _full(record, found) if found.loaded_but_full else record.swap(found, blocked_on=_watch(record))


def _pass_over(record: Record, start: TierSpec) -> Screen | None:
    """Step 6: move to the first tier from `start` upward that can take the task; `None` when none can."""
    question = record.question
    pinned = question.facts.endpoint
    if pinned is not None and question.facts.model is None:
        return _tier_of_endpoint(record, start, pinned)
    moves: list[tuple[TierSpec, Screen]] = []
    hurdle: Screen | None = None
    for tier in _in_turn(question, start):
        if hurdle is not None:
            moves.append((tier, hurdle))
        screened = screen(tier, question)
        record.unfit.extend((tier.name, unfit) for unfit in screened.unfit)
        if screened.fit:
            for onto, failed in moves:
                record.move(onto, failed.cause, failed.reason + (below(record, onto) if onto is tier else ""))
            return screened
        if question.facts.model is not None:
            return None
        hurdle = screened
    return None


def _in_turn(question: Question, start: TierSpec) -> tuple[TierSpec, ...]:
    """The tiers to look at: upward; then, where whoever asks may not use everything and left the choice to us, also
    downward from the start: some allowed tier is better than none.
    """
    facts, upward = question.facts, question.ladder.above(start)
    if facts.tier is not None or facts.model is not None or not (facts.only_tiers or facts.only_models):
        return upward
    return (*upward, *reversed([tier for tier in question.ladder.models if tier not in upward]))


def _tier_of_endpoint(record: Record, start: TierSpec, pinned: str) -> Screen | None:
    """The tier a pinned endpoint works for: the nearest one from `start` upward, else downward, of which it serves a
    fit model. Where it serves none, the start stays, to be found unavailable.
    """
    question = record.question
    view = question.snapshot.endpoints.get(pinned)
    if view is not None and question.facts.local_only and not view.spec.local:
        return None
    upward = question.ladder.above(start)
    downward = reversed([tier for tier in question.ladder.models if tier not in upward])
    screens = [(tier, screen(tier, question)) for tier in (*upward, *downward)]
    for tier, screened in screens:
        if any(question.endpoints(model) for model in screened.fit):
            record.move(tier, Cause.EXPLICIT, f"the task asks for endpoint {pinned}, which serves this tier")
            record.unfit.extend((tier.name, unfit) for unfit in screened.unfit)
            return screened
    record.unfit.extend((tier.name, unfit) for tier, screened in screens for unfit in screened.unfit)
    for tier, screened in screens:
        if screened.fit:
            record.move(tier, screens[0][1].cause, screens[0][1].reason)
            return screened
    return None


def _unavailable(record: Record, found: Survey) -> Verdict:
    """Step 8: no call can go to the tier. What a limit keeps from it has looked at the other tiers already."""
    question, request = record.question, record.question.request
    if found.over_limit() and not question.facts.fallback_models:
        return _over_limit(record, found)
    strict = request.live and found.lacks_room() and question.policy.gateway.context_rule is ContextRule.ERROR
    plan = None if strict else find_fallback(question, record.aim, found)
    if plan is None:
        return _down(record, found)
    if request.now_ms < plan.at_ms:
        first = plan.targets[0]
        return record.hold(
            WaitCode.FALLBACK_WAIT,
            f"{wording.unavailable(found, question)}; next may use {first.model or first.tier.name}",
            since_ms=plan.since_ms,
            next_check_ms=plan.at_ms,
            fallback=(first.tier.name, first.model),
            blocked_on=_watch(record) | _serving(plan),
        )
    why = wording.unavailable(found, question)
    surveyors: dict[str | None, Surveyor] = {}  # one for each question, as they remember what hosts cost
    for target in plan.targets:
        surveyor = surveyors.setdefault(target.model, Surveyor(target.question, record.spared))
        other = surveyor.survey(target.tier, target.screen)
        record.surveys.append(other)
        if other.available:
            _step(record, target, why, request.now_ms - plan.since_ms)
            return _take(record, other)
    return _down(record, found)


def _step(record: Record, target: Target, why: str, waited_ms: int) -> None:
    """Take the step of an outage, and say so."""
    before, tier = record.tier_name, target.tier
    if target.model is not None:
        record.stand_in(tier, target.model, f"{why}, after {wording.seconds(waited_ms)}", waited_ms)
        return
    note = below(record, tier)
    record.move(tier, Cause.AVAILABILITY, f"{why}, after {wording.seconds(waited_ms)}{note}")
    record.detour = Detour(reason=f"{why}{note}", from_tier=before, wait_ms=waited_ms)


def _full(record: Record, found: Survey) -> Hold:
    """Step 7: usable places, no free slot. Waiting for a slot is never a reason to leave the tier."""
    question = record.question
    first = min(found.busy, key=wording.nearness)
    more = f" and {len(found.busy) - 1} more" if len(found.busy) > 1 else ""
    detail = f"{first.endpoint} {wording.refusal(first, question)}{more} (tier {found.tier.name})"
    hold = record.hold(WaitCode.CAPACITY, detail, since_ms=question.request.queued_ms, blocked_on=_watch(record))
    wishes = found.wishes()
    return replace(hold, wishes=wishes) if wishes else hold


def _down(record: Record, found: Survey) -> Hold:
    """Step 11: neither the tier nor what may replace it has a usable place."""
    question = record.question
    since = (at for survey in record.surveys if (at := survey.outage_since_ms()) is not None)
    since_ms = max(since, default=question.request.queued_ms)
    detail = wording.unavailable(found, question)
    for other in record.surveys[1:]:
        detail = f"{detail}; {wording.unavailable(other, question)}"
    in_vain = any(survey.lacks_room() or survey.is_out_of_reach() for survey in record.surveys)
    if question.request.live and in_vain and not _may_return(record):
        return _no_route(record, detail)
    if found.over_limit() and not found.outages():
        return _over_limit(record, found)
    quota = (until for survey in record.surveys if (until := survey.quota_until_ms()) is not None)
    until_ms = min(quota, default=None)
    code = WaitCode.ENDPOINT_DOWN if until_ms is None else WaitCode.QUOTA_UNTIL
    loads = (at for survey in record.surveys if (at := survey.load_again_ms()) is not None)
    if until_ms is None and (again_ms := min(loads, default=None)) is not None:
        code, until_ms = WaitCode.MODEL_SWAP, again_ms
    return record.hold(code, detail, since_ms=since_ms, next_check_ms=until_ms, blocked_on=_watch(record))


def _over_limit(record: Record, found: Survey) -> Hold:
    """Step 9: what it may use costs more than is left."""
    first = min(found.over_limit(), key=wording.nearness)
    detail = f"{first.model} on {first.endpoint} {wording.refusal(first, record.question)}"
    away = [survey.tier.name for survey in record.surveys[1:] if survey.outages()]
    if away:
        detail = f"{detail}; {', '.join(away)} would cost nothing and cannot be used now"
    since_ms = record.question.request.queued_ms
    return record.hold(WaitCode.BUDGET, detail, since_ms=since_ms, blocked_on=_watch(record))


def _may_return(record: Record) -> bool:
    return any(survey.outages() for survey in record.surveys)


def _no_route(record: Record, detail: str) -> Hold:
    """Step 6 or earlier: nothing in the profile can take it."""
    return record.hold(WaitCode.NO_ROUTE, detail, since_ms=record.question.request.queued_ms)


def _unfit_detail(record: Record) -> str:
    """Each model's reason, for a hold without any route."""
    facts = record.question.facts
    if facts.endpoint is not None and not record.unfit:
        return f"endpoint {facts.endpoint} is not local, and the data must stay local"
    reasons = dict.fromkeys(f"{unfit.model} {unfit.detail}" for _, unfit in record.unfit)
    return "; ".join(reasons) or "no tier has a model"


def _watch(record: Record) -> set[str]:
    """Endpoints whose change could end the wait. Where nobody serves a tier, that is also every endpoint that does not
    declare its models: its next listing may name one.
    """
    question, pinned = record.question, record.question.facts.endpoint
    watched = {pinned} if pinned is not None else set()
    for found in record.surveys:
        places = found.watch()
        watched |= places
        if not places and pinned is None:
            watched |= _undeclared(question)
    return watched


def _undeclared(question: Question) -> set[str]:
    local_only = question.facts.local_only
    views = question.snapshot.endpoints.items()
    return {name for name, view in views if not view.spec.models and (view.spec.local or not local_only)}


def _serving(plan: Fallback) -> set[str]:
    return {name for target in plan.targets for model in target.screen.fit for name in target.question.endpoints(model)}
