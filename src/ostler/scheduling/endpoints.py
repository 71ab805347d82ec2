"""What the scheduler knows of each endpoint: health from listings, a breaker from real calls, rate limits, slots.

Rules. Health: `failures_to_down` failed listings in a row make it down, `successes_to_up` good ones up; a bad key shows
at once. Breaker: `breaker_failures` failed calls in a row open it for a cool-down that doubles each time (to 8 times);
then one call at a time is let through until one succeeds. A rate limit is obeyed until the instant the provider named.
After an outage the slots open gradually (`ramp_start`, doubled by each success): a backlog does not stampede.

Views are rebuilt only for an endpoint that changed. All methods are O(models of the endpoint).
"""

from collections.abc import Collection, Mapping

import msgspec
from msgspec.structs import replace

from ostler.domain.catalog import EndpointSpec, Reach, normal_model
from ostler.domain.event import Event
from ostler.domain.fleet import BreakerState, EndpointView, Health, Probe, ProbeStatus, Resident, SharedSlots
from ostler.domain.policy import SchedulerPolicy
from ostler.scheduling.workers import is_tied

MAX_COOLDOWN_DOUBLINGS = 3
NOT_TOLD = SharedSlots(slots=0)
"""Until it is known whether another pool calls it."""


class EndpointState(msgspec.Struct, kw_only=True):
    """Mutable books of one endpoint; nobody outside this module changes them."""

    spec: EndpointSpec
    health: Health = Health.UNKNOWN
    bad_probes: int = 0
    good_probes: int = 0
    listed: frozenset[str] = frozenset()
    residents: tuple[Resident, ...] | None = None
    seen_loaded: frozenset[str] | None = None
    """What the last listing showed in memory; `residents` also holds what our own calls are about to load."""
    checked_ms: int | None = None
    breaker: BreakerState = BreakerState.CLOSED
    bad_calls: int = 0
    openings: int = 0
    open_until_ms: int = 0
    blocked_until_ms: int | None = None
    ramp_slots: int | None = None
    unusable_since_ms: int | None = None
    managed: bool = False
    """`residents` are the scheduler's own books of what may be used; a listing does not replace them."""
    announced: bool | None = None
    """Whether the last event said usable; `None` = none was sent yet."""
    message: str = ""
    share: SharedSlots | None = None
    """This pool's part, where other pools call it too."""
    windows: Mapping[str, int] = {}
    versions: Mapping[str, str] = {}
    """Largest context of models, as listed."""

    def usable(self) -> bool:
        """Whether a call may go there, slots aside."""
        return self.health is Health.UP and self.breaker is not BreakerState.OPEN and self.blocked_until_ms is None

    def slots(self) -> int:
        """Open slots now."""
        if self.breaker is BreakerState.HALF_OPEN:
            opened = 1
        else:
            opened = self.spec.slots if self.ramp_slots is None else min(self.ramp_slots, self.spec.slots)
        return opened if self.share is None else min(opened, self.share.slots)

    def declared(self) -> frozenset[str]:
        """Models the profile names for it."""
        return frozenset(normal_model(name) for name in self.spec.models)

    def offered(self) -> frozenset[str]:
        """Models it is believed to serve.

        A cloud takes names that its listing does not show, so there the declaration holds. A local engine that lists
        others does not have the declared one, and some answer with another model in silence: there both must say so.
        """
        declared = self.declared()
        if declared and self.listed and self.spec.local:
            return declared & self.listed
        return declared or self.listed

    def view(self) -> EndpointView:
        """The frozen picture for decisions."""
        return EndpointView(
            spec=self.spec,
            health=self.health,
            models=self.offered(),
            residents=self.residents,
            managed=self.managed,
            checked_ms=self.checked_ms,
            breaker=self.breaker,
            blocked_until_ms=self.blocked_until_ms,
            slots=self.slots(),
            share=self.share,
            unusable_since_ms=self.unusable_since_ms,
            message=self.message,
            windows=self.windows,
            versions=self.versions,
        )


class Endpoints:
    """All endpoints by name. Methods that can change what is usable return the events of the change."""

    def __init__(self, policy: SchedulerPolicy) -> None:
        self.policy = policy
        self._states: dict[str, EndpointState] = {}
        self.views: dict[str, EndpointView] = {}
        self.by_model: dict[str, tuple[str, ...]] = {}
        self.tied: dict[str, EndpointSpec] = {}
        """Those that only workers of their own machine reach."""
        self.tied_names: frozenset[str] = frozenset()
        self._tied_on: dict[str, dict[str, None]] = {}
        """The same by machine."""
        self.epoch = 0
        """Rises whenever a view becomes another one."""
        self._shares: Mapping[str, SharedSlots | None] | None = None
        """What was said of slots that pools share; of endpoints that are not in it nothing was said yet."""
        self._changed: set[str] = set()
        """Endpoints of which something changed that who waits for them may care about."""

    def __contains__(self, name: str) -> bool:
        return name in self._states

    def add(self, spec: EndpointSpec, now_ms: int) -> list[Event]:
        """Register an endpoint, or replace its spec and keep what is known of it."""
        self._untie(spec.name)
        if is_tied(spec):
            self.tied[spec.name] = spec
            self.tied_names |= {spec.name}
            self._tied_on.setdefault(spec.host, {})[spec.name] = None
        known = self._states.get(spec.name)
        if known is not None:
            known.spec = spec
            known.share = self._share_of(spec.name)
            self._refresh(known)
            return []
        # Unusable until its first listing: the wait for a fallback counts from here, not from when old work was queued.
        share = self._share_of(spec.name)
        self._states[spec.name] = EndpointState(spec=spec, unusable_since_ms=now_ms, share=share)
        self._refresh(self._states[spec.name])
        meta = {"endpoint": spec.name, "kind": spec.kind.value, "host": spec.host}
        return [Event(name="endpoint.added", at_ms=now_ms, metadata=meta)]

    def _untie(self, name: str) -> None:
        spec = self.tied.pop(name, None)
        if spec is not None:
            self.tied_names -= {name}
            del self._tied_on[spec.host][name]

    def reached_from(self, hosts: Collection[str], *, by_hub: bool) -> list[str]:
        """Of those tied to their machine, the ones that a worker of this one reaches; `by_hub`: it is the hub's own."""
        if by_hub:
            return [name for name, spec in self.tied.items() if spec.reached_by is Reach.HUB or spec.host in hosts]
        return [name for host in hosts for name in self._tied_on.get(host, ())]

    def remove(self, name: str, now_ms: int) -> list[Event]:
        """Forget an endpoint."""
        if self._states.pop(name, None) is None:
            return []
        self._index(name, self.views.pop(name).models, frozenset())
        self._untie(name)
        self._changed.discard(name)
        self.epoch += 1
        return [Event(name="endpoint.removed", at_ms=now_ms, metadata={"endpoint": name})]

    def probed(self, probe: Probe, now_ms: int, *, busy: bool = False) -> list[Event]:
        """Take in a listing. `busy`: calls of ours are in flight there.

        An engine may list nothing while it generates: a listing that times out during our own call says nothing, the
        call itself will tell. A refused connection counts all the same.
        """
        state = self._states.get(probe.endpoint)
        if state is None or (probe.timed_out and busy):
            return []
        state.checked_ms = probe.at_ms
        events: list[Event] = []
        if probe.status is ProbeStatus.AVAILABLE:
            events += self._listed(state, probe, now_ms)
            state.bad_probes, state.good_probes = 0, state.good_probes + 1
            if state.health is not Health.UP and state.good_probes >= self.policy.successes_to_up:
                self._came_up(state)
        elif probe.status is ProbeStatus.KEY_INVALID:
            state.health, state.message, state.good_probes = Health.KEY_INVALID, probe.message, 0
        elif probe.status is ProbeStatus.RATE_LIMITED:
            # It answers: alive, but not for us until it says so.
            state.bad_probes = 0
            state.health = Health.UP if state.health is Health.UNKNOWN else state.health
            state.blocked_until_ms = now_ms + (probe.retry_after_ms or 60_000)
            state.message = probe.message
        else:
            state.bad_probes, state.good_probes = state.bad_probes + 1, 0
            state.message = probe.message
            if state.bad_probes >= self.policy.failures_to_down:
                state.health = Health.DOWN
        return events + self._settle(state, now_ms)

    def _listed(self, state: EndpointState, probe: Probe, now_ms: int) -> list[Event]:
        state.listed = frozenset(normal_model(name) for name in probe.models)
        state.message = ""
        if probe.context_tokens:
            state.windows = {normal_model(name): window for name, window in sorted(probe.context_tokens.items())}
        if probe.versions:
            state.versions = {normal_model(name): version for name, version in sorted(probe.versions.items())}
        before = state.seen_loaded
        after = None if probe.residents is None else frozenset(resident.model for resident in probe.residents)
        state.seen_loaded = after
        if not state.managed:
            state.residents = probe.residents
        if before is None or after is None or before == after:
            return []
        meta = {
            "endpoint": state.spec.name,
            "loaded": ", ".join(sorted(after - before)),
            "unloaded": ", ".join(sorted(before - after)),
        }
        return [Event(name="endpoint.resident", at_ms=now_ms, metadata=meta)]

    def _came_up(self, state: EndpointState) -> None:
        was_down = state.health is Health.DOWN
        state.health = Health.UP
        if was_down:
            # A restarted server starts clean; old failures say nothing about it.
            state.breaker, state.bad_calls, state.openings = BreakerState.CLOSED, 0, 0
            state.ramp_slots = self.policy.ramp_start

    def call_ok(self, name: str, now_ms: int) -> list[Event]:
        """A real call succeeded: closes the breaker, opens more slots."""
        state = self._states.get(name)
        if state is None:
            return []
        events: list[Event] = []
        state.bad_calls = 0
        if state.breaker is BreakerState.CLOSED and state.ramp_slots is None:
            return events  # as almost always: nothing of it shows
        if state.breaker is BreakerState.HALF_OPEN:
            state.breaker, state.openings, state.ramp_slots = BreakerState.CLOSED, 0, self.policy.ramp_start
            events.append(_breaker_event(state, now_ms, "a call succeeded"))
        if state.ramp_slots is not None:
            doubled = state.ramp_slots * 2
            state.ramp_slots = doubled if doubled < state.spec.slots else None
        return events + self._settle(state, now_ms)

    def call_failed(self, name: str, now_ms: int, message: str) -> list[Event]:
        """A real call failed in a way that is the endpoint's fault."""
        state = self._states.get(name)
        if state is None:
            return []
        state.bad_calls += 1
        half_open = state.breaker is BreakerState.HALF_OPEN
        if not half_open and (state.breaker is BreakerState.OPEN or state.bad_calls < self.policy.breaker_failures):
            return []
        cooldown_ms = self.policy.breaker_cooldown_ms * 2 ** min(state.openings, MAX_COOLDOWN_DOUBLINGS)
        state.breaker, state.openings = BreakerState.OPEN, state.openings + 1
        state.open_until_ms, state.message = now_ms + cooldown_ms, message
        return [_breaker_event(state, now_ms, message), *self._settle(state, now_ms)]

    def block(self, name: str, until_ms: int, now_ms: int, message: str) -> list[Event]:
        """The endpoint said when to come back."""
        state = self._states.get(name)
        if state is None:
            return []
        state.blocked_until_ms = max(until_ms, state.blocked_until_ms or 0)
        state.message = message
        event = Event(
            name="endpoint.rate_limited",
            at_ms=now_ms,
            measurements={"retry_after_ms": until_ms - now_ms},
            metadata={"endpoint": name},
        )
        return [event, *self._settle(state, now_ms)]

    def key_refused(self, name: str, now_ms: int, message: str) -> list[Event]:
        """A real call was refused for its key."""
        state = self._states.get(name)
        if state is None:
            return []
        state.health, state.message = Health.KEY_INVALID, message
        return self._settle(state, now_ms)

    def reset(self, name: str, now_ms: int) -> list[Event]:
        """Forget breaker, rate limit and ramp; the next probe says the rest."""
        state = self._states.get(name)
        if state is None:
            return []
        changed = state.breaker is not BreakerState.CLOSED
        state.breaker, state.bad_calls, state.openings = BreakerState.CLOSED, 0, 0
        state.blocked_until_ms, state.ramp_slots = None, None
        events = [_breaker_event(state, now_ms, "reset by hand")] if changed else []
        return events + self._settle(state, now_ms)

    def advance(self, name: str, now_ms: int) -> list[Event]:
        """Let time act on one endpoint: a cool-down or a rate limit may be over."""
        state = self._states.get(name)
        if state is None:
            return []
        events: list[Event] = []
        if state.breaker is BreakerState.OPEN and now_ms >= state.open_until_ms:
            state.breaker = BreakerState.HALF_OPEN
            events.append(_breaker_event(state, now_ms, "cool-down is over"))
        if state.blocked_until_ms is not None and now_ms >= state.blocked_until_ms:
            state.blocked_until_ms = None
        return events + self._settle(state, now_ms)

    def next_due_ms(self, name: str) -> int | None:
        """When time will act on this endpoint."""
        state = self._states.get(name)
        if state is None:
            return None
        due = [state.open_until_ms] if state.breaker is BreakerState.OPEN else []
        if state.blocked_until_ms is not None:
            due.append(state.blocked_until_ms)
        return min(due, default=None)

    def mark_resident(self, name: str, model: str, context_tokens: int | None = None) -> None:
        """A call on this model is going there, so it will be loaded: the listing is stale until the next probe.
        `context_tokens`: what it will be loaded with, where the call says so; never less than it has.
        """
        state = self._states.get(name)
        if state is None or state.residents is None:
            return
        known = next((resident for resident in state.residents if resident.model == model), None)
        if known is None:
            state.residents = (*state.residents, Resident(model=model, context_tokens=context_tokens))
        elif context_tokens is not None and not state.managed and (known.context_tokens or 0) < context_tokens:
            anew = msgspec.structs.replace(known, context_tokens=context_tokens)
            state.residents = tuple(anew if resident is known else resident for resident in state.residents)
        else:
            return
        self._refresh(state, heard=False)

    def set_usable(self, name: str, residents: tuple[Resident, ...], *, managed: bool = True) -> None:
        """Say which models of a managed endpoint may be used; with `managed` false, leave it to the listings again."""
        state = self._states.get(name)
        if state is None or (state.managed == managed and state.residents == residents):
            return
        state.managed, state.residents = managed, residents
        self._refresh(state)

    def shared(self, shares: Mapping[str, SharedSlots | None] | None) -> tuple[str, ...]:
        """Take in what is this pool's of slots that pools share, for every endpoint that was looked at: the others are
        not called until it is known. `None`: nobody counts over pools. Those that this concerns, by name.
        """
        self._shares = shares
        concerned = []
        for name in sorted(self._states):
            state, share = self._states[name], self._share_of(name)
            if state.share != share:
                state.share = share
                self._refresh(state)
                concerned.append(name)
        return tuple(concerned)

    def _share_of(self, name: str) -> SharedSlots | None:
        return None if self._shares is None else self._shares.get(name, NOT_TOLD)

    def take_changed(self, name: str) -> bool:
        """Whether anything became different since this was asked last that could end a wait: not when it was looked at,
        nor what our own calls are about to load.
        """
        was_changed = name in self._changed
        self._changed.discard(name)
        return was_changed

    def is_usable(self, name: str) -> bool:
        """Whether calls may go there, slots aside."""
        state = self._states.get(name)
        return state is not None and state.usable()

    def unlisted(self, name: str) -> tuple[str, ...]:
        """Declared models that its listing does not show, sorted; none before the first listing."""
        state = self._states[name]
        return tuple(sorted(state.declared() - state.listed)) if state.listed else ()

    def bad_probes(self, name: str) -> int:
        """Failed listings in a row."""
        return self._states[name].bad_probes

    def _settle(self, state: EndpointState, now_ms: int) -> list[Event]:
        """Rebuild the view and say when the endpoint became usable or stopped being so."""
        name, events = state.spec.name, list[Event]()
        if state.usable():
            if state.announced is not True:
                down_ms = now_ms - (state.unusable_since_ms or now_ms) if state.announced is False else 0
                meta: dict[str, str] = {"endpoint": name, "models": ", ".join(sorted(state.view().models))}
                events.append(Event(name="endpoint.up", at_ms=now_ms, measurements={"down_ms": down_ms}, metadata=meta))
            state.announced, state.unusable_since_ms = True, None
        elif state.health is not Health.UNKNOWN and state.announced is not False:
            state.announced = False
            state.unusable_since_ms = now_ms if state.unusable_since_ms is None else state.unusable_since_ms
            meta = {"endpoint": name, "reason": state.message or state.health.value}
            events.append(Event(name="endpoint.down", at_ms=now_ms, metadata=meta))
        self._refresh(state)
        return events

    def _refresh(self, state: EndpointState, *, heard: bool = True) -> None:
        """Rebuild the view. `heard`: from what was said or done there, not from what we are about to do."""
        name = state.spec.name
        known = self.views.get(name)
        before = known.models if known is not None else frozenset[str]()
        view = state.view()
        if known == view:
            return
        if heard and (known is None or view != replace(known, checked_ms=view.checked_ms, message=view.message)):
            self._changed.add(name)
        self.epoch += 1
        self.views[name] = view
        if view.models != before:
            self._index(name, before, view.models)

    def _index(self, name: str, before: frozenset[str], after: frozenset[str]) -> None:
        for model in before - after:
            rest = tuple(other for other in self.by_model[model] if other != name)
            if rest:
                self.by_model[model] = rest
            else:
                del self.by_model[model]
        for model in after - before:
            self.by_model[model] = tuple(sorted({*self.by_model.get(model, ()), name}))


def _breaker_event(state: EndpointState, now_ms: int, reason: str) -> Event:
    meta = {"endpoint": state.spec.name, "state": state.breaker.value, "reason": reason}
    return Event(name="endpoint.breaker", at_ms=now_ms, metadata=meta)
