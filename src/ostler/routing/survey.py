"""Which places of a tier can take the task now (step 7), and why the others cannot.

Every (endpoint, model) that serves a fit model ends in exactly one of four lists: an offer, busy (usable, no free
slot), excluded (usable, but the last attempt failed there), refused. From them follows the state of the tier: something
to choose from, full, or unavailable; only the last one lets a task leave the tier. When everything usable is excluded,
the exclusion is lifted: trying again where it failed beats waiting for ever. Not for a live call, whose caller would
wait for the same failure once more: there it leaves the tier unavailable.

On a managed host a model that is not loaded is an offer like any other, its swap counted in; when it is the best one,
the task waits for the load (see `record.swap`). One that failed to load a moment ago is refused.

Cost: one look at each endpoint that serves a model of the tier, nothing for the rest of the fleet.
"""

import heapq
from collections.abc import Collection, Iterable

import msgspec

from ostler.budget.limits import Gate
from ostler.budget.subscriptions import SubscriptionStanding
from ostler.domain.catalog import ChoiceRule, ModelSpec, TierSpec
from ostler.domain.decision import Rejection, Wish
from ostler.domain.fleet import EndpointView, ModelAt, SwapEstimate
from ostler.routing import effort, filters, scoring
from ostler.routing.effort import Work
from ostler.routing.filters import NEVER, Screen
from ostler.routing.gatekeeping import gate_of, is_degraded, is_explicit, plan_of
from ostler.routing.question import Question
from ostler.routing.scoring import HostLoad, Offer

_NO_SWAP = SwapEstimate()
_GIVE_WAY = frozenset({Rejection.PLANNED, Rejection.LEARNED})
"""Refused only while something else of the tier can be used."""
_NO_OUTAGE = NEVER | {Rejection.BUDGET}


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A place that cannot take the task now."""

    endpoint: str
    model: str
    rejection: Rejection
    view: EndpointView
    call_ms: int = 0
    """Of a place on a managed host: how long the call would take."""
    swap: SwapEstimate | None = None
    gate: Gate | None = None
    """What of the budget keeps work away."""


class Survey(msgspec.Struct, kw_only=True):
    """All places of one tier, sorted into lists."""

    tier: TierSpec
    screen: Screen
    offers: list[Offer] = []
    busy: list[Refusal] = []
    refused: list[Refusal] = []
    excluded: list[Refusal] = []
    unserved: list[str] = []
    """Fit models that no registered endpoint offers (or not the pinned one)."""
    lifted: bool = False
    """Exclusions were ignored, because nothing else was usable."""

    @property
    def available(self) -> bool:
        """Whether calls may go to at least one place, even if all slots are taken now."""
        return bool(self.offers or self.busy)

    @property
    def loaded_but_full(self) -> bool:
        """Whether a model is loaded on a managed host and only its slots are taken."""
        return any(place.view.managed and place.rejection is Rejection.NO_SLOT for place in self.busy)

    def best(self, limit: int) -> list[Offer]:
        """The best offers by the tier's rule, at most `limit`; equal ones in the order of their names. What is paid by
        the token comes after all others while a subscription has something left in time.
        """
        in_order = self.tier.choose is ChoiceRule.FIRST
        spares = any(offer.plan is not None and offer.plan.preferred for offer in self.offers)

        def key(offer: Offer) -> tuple[bool, int, float, str, str]:
            order = offer.order if in_order else 0
            return (spares and offer.is_metered, order, -offer.score, offer.endpoint, offer.model)

        if limit == 1 and self.offers:
            return [min(self.offers, key=key)]
        return heapq.nsmallest(limit, self.offers, key=key)

    def turned_down(self) -> list[Refusal]:
        """Every place that is no offer."""
        return [*self.busy, *self.excluded, *self.refused]

    def outages(self) -> list[Refusal]:
        """Refusals that a recovery would end."""
        return [refusal for refusal in self.refused if refusal.rejection not in _NO_OUTAGE]

    def over_limit(self) -> list[Refusal]:
        """Places that a limit of the budget keeps work away from."""
        return [refusal for refusal in self.refused if refusal.rejection is Rejection.BUDGET]

    @property
    def costs_nothing(self) -> bool:
        """Whether every place that it could have is one of the user's own."""
        offers = all(offer.view.spec.local for offer in self.offers)
        return offers and all(place.view.spec.local for place in self.busy)

    def spare(self) -> None:
        """Leave the offers at a soft limit out: something cheaper takes the task."""
        dear = [offer for offer in self.offers if is_degraded(offer.gate)]
        self.offers = [offer for offer in self.offers if not is_degraded(offer.gate)]
        self.refused.extend(
            Refusal(offer.endpoint, offer.model, Rejection.BUDGET, offer.view, gate=offer.gate) for offer in dear
        )

    def outage_since_ms(self) -> int | None:
        """When the last place that could have taken it went away; `None` when nobody knows."""
        return max((since for r in self.outages() if (since := r.view.unusable_since_ms) is not None), default=None)

    def quota_until_ms(self) -> int | None:
        """When the first rate limit ends, if there is one."""
        limited = (r for r in self.refused if r.rejection is Rejection.RATE_LIMITED)
        return min((until for r in limited if (until := r.view.blocked_until_ms) is not None), default=None)

    def lacks_room(self) -> bool:
        """Whether a place was refused for its context, and none that a recovery would bring back is left."""
        return any(r.rejection is Rejection.CONTEXT for r in self.refused) and not self.outages()

    def is_out_of_reach(self) -> bool:
        """Whether a place was refused because the hub does not reach it, and none that may come back is left."""
        return any(r.rejection is Rejection.UNREACHABLE for r in self.refused) and not self.outages()

    def watch(self) -> set[str]:
        """Endpoints whose change could end a wait for this tier."""
        places: Iterable[Refusal] = (*self.busy, *self.excluded, *self.outages())
        return {place.endpoint for place in places} | {offer.endpoint for offer in self.offers}

    def load_again_ms(self) -> int | None:
        """When a model whose load failed may be tried again, the first of them."""
        failed = (r.swap for r in self.refused if r.rejection is Rejection.LOAD_FAILED)
        return min((s.blocked_until_ms for s in failed if s is not None and s.blocked_until_ms), default=None)

    def wishes(self) -> tuple[Wish, ...]:
        """What the task could use on managed hosts: full places first, then what is to be loaded, best first."""
        full = [
            Wish(endpoint=place.endpoint, model=place.model, host=place.view.spec.host, call_ms=place.call_ms)
            for place in self.busy
            if place.view.managed and (place.rejection is Rejection.NO_SLOT or place.view.is_warm(place.model))
        ]
        cold = [
            Wish(
                endpoint=offer.endpoint,
                model=offer.model,
                host=offer.view.spec.host,
                call_ms=offer.work.call_ms,
                swap_ms=max(1, offer.load_ms),
            )
            for offer in self.best(len(self.offers))
            if offer.swap is not None
        ]
        return (*full, *cold)


class _Contender(msgspec.Struct, frozen=True, gc=False):
    """A model of the tier and what the task takes on it."""

    name: str
    order: int
    spec: ModelSpec | None
    work: Work


class Surveyor:
    """Surveys tiers for one question; remembers what hosts and models cost, as tiers share them."""

    def __init__(self, question: Question, spared: Collection[str] = ()) -> None:
        self._question = question
        self._spared = spared
        """Models that are left out while another one can be used."""
        self._hosts: dict[str, HostLoad] = {}
        self._gates: dict[tuple[str, str, str], Gate | None] = {}
        self._plans: dict[tuple[str, str], SubscriptionStanding | None] = {}

    def survey(self, tier: TierSpec, screen: Screen) -> Survey:
        """Look at every place of the tier."""
        found = Survey(tier=tier, screen=screen)
        spared: list[tuple[Refusal, _Contender]] = []
        elsewhere: list[tuple[Refusal, _Contender]] = []
        for order, name in enumerate(screen.fit):
            spec = self._question.policy.catalog.models.get(name)
            work = effort.work_on(spec, tier, self._question.facts, self._question.policy)
            contender = _Contender(name, order, spec, work)
            for place in self._look(contender, found):
                (elsewhere if place.rejection in _GIVE_WAY else spared).append((place, contender))
        if not found.available:
            for place, contender in elsewhere:
                self._sort(place.endpoint, place.view, contender, found)
        else:
            found.excluded.extend(place for place, _ in elsewhere)
        if spared and not found.available and not self._question.request.live:
            found.lifted = True
            for place, contender in spared:
                self._sort(place.endpoint, place.view, contender, found)
        else:
            found.excluded.extend(place for place, _ in spared)
        self._favour(found)
        if not is_explicit(self._question) and any(not is_degraded(offer.gate) for offer in found.offers):
            found.spare()
        return found

    def _look(self, contender: _Contender, found: Survey) -> list[Refusal]:
        """Sort the places of one model; returns those that are usable but excluded, or not where a plan has the task:
        their turn depends on the rest.
        """
        question, tier, now_ms = self._question, found.tier, self._question.request.now_ms
        endpoints, excluded, model = question.snapshot.endpoints, question.excluded, contender.name
        # Asked once for each model, not for each place: most fleets have no such limits.
        restricted = filters.restricts(tier, question)
        sized = bool(question.policy.catalog.hosts)
        through_hub = filters.calls_through_hub(question)
        spared: list[Refusal] = []
        planned, is_live = question.request.planned, question.request.live
        places = question.endpoints(model)
        if not places:
            found.unserved.append(model)
        for name in places:
            view = endpoints.get(name)
            if view is None:
                continue
            rejection = filters.never_reason(view, tier, question) if restricted or not view.spec.enabled else None
            if rejection is None and through_hub and filters.is_unreachable(view, question):
                rejection = Rejection.UNREACHABLE
            if rejection is None and sized and filters.exceeds_memory(view, contender.spec, question):
                rejection = Rejection.MEMORY
            if rejection is None and is_live and filters.lacks_room(view, model, contender.spec, question):
                rejection = Rejection.CONTEXT
            rejection = rejection or (None if view.is_well else filters.outage(view, now_ms))
            gate = self._gate(tier, view, model) if rejection is None and not view.spec.local else None
            if gate is not None and not gate.admits:
                rejection = Rejection.BUDGET
            if rejection is not None:
                found.refused.append(Refusal(name, model, rejection, view, gate=gate))
            elif excluded and (name in excluded or f"{name}/{model}" in excluded):
                spared.append(Refusal(name, model, Rejection.EXCLUDED, view))
            elif planned and name not in planned:
                spared.append(Refusal(name, model, Rejection.PLANNED, view))
            elif model in self._spared:
                spared.append(Refusal(name, model, Rejection.LEARNED, view))
            else:
                self._sort(name, view, contender, found)
        return spared

    def _sort(self, name: str, view: EndpointView, contender: _Contender, found: Survey) -> None:
        """A usable place becomes an offer when it has a free slot, else it is busy."""
        model = contender.name
        if model in self._question.request.full_models:
            found.busy.append(Refusal(name, model, Rejection.BATCH_SLOT, view))
            return
        if name in self._question.request.unreached:
            found.busy.append(Refusal(name, model, Rejection.NO_WORKER, view))
            return
        if not view.managed and self._question.snapshot.in_flight.get(name, 0) >= view.slots:
            found.busy.append(Refusal(name, model, Rejection.NO_SLOT, view))
            return
        warm = effort.is_warm(view, model, self._question.facts.context_tokens)
        work = self._work(contender, view)
        if view.managed and not warm:
            self._sort_cold(name, view, contender, work, found)
            return
        queue_ms = self._queue_ms(name, view, contender.name, work)
        if queue_ms is None:
            found.busy.append(Refusal(name, model, Rejection.NO_SLOT, view, work.call_ms))
            return
        policy = self._question.policy
        load_ms = 0
        if not warm:
            host = policy.catalog.hosts.get(view.spec.host)
            load_ms = effort.load_time_ms(view, contender.spec, host, policy.catalog, work)
        host_load = self._host(view.spec.host)
        offer = Offer(name, model, contender.order, view, host_load, work, warm, queue_ms, load_ms)
        if not view.spec.local:
            offer.gate = self._gate(found.tier, view, model)
            offer.plan = self._plan(view, model)
        scoring.rate(offer, policy.routing.weights)
        found.offers.append(offer)

    def _sort_cold(self, name: str, view: EndpointView, contender: _Contender, work: Work, found: Survey) -> None:
        """A model that is not loaded on a managed host: an offer whose slots are all free once it is."""
        question = self._question
        swap = question.snapshot.swaps.get(ModelAt(name, contender.name), _NO_SWAP)
        until_ms = swap.blocked_until_ms
        if until_ms is not None and until_ms > question.request.now_ms:
            found.refused.append(Refusal(name, contender.name, Rejection.LOAD_FAILED, view, work.call_ms, swap))
        elif not swap.possible:
            found.refused.append(Refusal(name, contender.name, Rejection.NO_ROOM, view, work.call_ms, swap))
        else:
            host_load = self._host(view.spec.host)
            offer = Offer(
                name,
                contender.name,
                contender.order,
                view,
                host_load,
                work,
                warm=False,
                queue_ms=0,
                load_ms=swap.total_ms,
                swap=swap,
            )
            scoring.rate(offer, question.policy.routing.weights)
            found.offers.append(offer)

    def _work(self, contender: _Contender, view: EndpointView) -> Work:
        """What the task takes on the model there: by measured speeds where there are any."""
        question = self._question
        if not question.snapshot.speeds:
            return contender.work
        measured = question.snapshot.speeds.get((view.spec.host, contender.name))
        return (
            contender.work
            if measured is None
            else effort.at_speeds(contender.work, measured, question.facts, question.policy.routing)
        )

    def _queue_ms(self, name: str, view: EndpointView, model: str, work: Work) -> int | None:
        """Expected delay by the calls in flight, the slots of the model counted too; `None` without a free slot."""
        snapshot = self._question.snapshot
        in_flight = snapshot.in_flight.get(name, 0)
        if in_flight >= view.slots:
            return None
        queue_ms = effort.queue_ms(in_flight, view.slots, work)
        own_slots = view.spec.slots_per_model.get(model)
        if own_slots is None:
            return queue_ms
        own_in_flight = snapshot.in_flight_by_model.get((name, model), 0)
        if own_in_flight >= own_slots:
            return None
        return max(queue_ms, effort.queue_ms(own_in_flight, own_slots, work))

    def _gate(self, tier: TierSpec, view: EndpointView, model: str) -> Gate | None:
        """What money says of a place, asked once for all endpoints of a provider: no limit is of an endpoint."""
        if view.spec.local or self._question.snapshot.spent is None:
            return None
        key = (tier.name, view.spec.provider, model)
        if key not in self._gates:
            self._gates[key] = gate_of(self._question, tier, view, model, self._plan(view, model))
        return self._gates[key]

    def _plan(self, view: EndpointView, model: str) -> SubscriptionStanding | None:
        """The subscription that pays for a place, looked at once for all endpoints of a provider."""
        if view.spec.local or not self._question.policy.budget.subscriptions:
            return None
        key = (view.spec.provider, model)
        if key not in self._plans:
            self._plans[key] = plan_of(self._question, view.spec.provider, model)
        return self._plans[key]

    def _host(self, name: str) -> HostLoad:
        known = self._hosts.get(name)
        if known is None:
            question = self._question
            report = question.snapshot.reports.get(name)
            known = scoring.host_load(report, question.request.now_ms, question.policy.routing)
            self._hosts[name] = known
        return known

    def _favour(self, found: Survey) -> None:
        repo = self._question.facts.repo
        if repo is not None:
            host = self._question.snapshot.repo_hosts.get(repo)
            scoring.favour_repo_host(found.offers, host, self._question.policy.routing.weights)
