"""Endpoints under any sequence of listings and calls, against a naive model: index, events, frozen views."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ostler.domain.event import Event
from ostler.domain.fleet import BreakerState, EndpointView, Health, Probe, ProbeStatus, Resident
from ostler.domain.policy import SchedulerPolicy
from ostler.scheduling.endpoints import Endpoints
from tests.scheduling.rig import local

NAMES = st.sampled_from(["a", "b", "c"])
MODELS = st.frozensets(st.sampled_from(["m", "n", "o"]), max_size=3)
RESIDENTS = st.one_of(st.none(), MODELS)


class Fleet(RuleBasedStateMachine):
    """Three names, three models, every method in any order; time moves forward only."""

    @initialize()
    def begin(self) -> None:
        self.books = Endpoints(SchedulerPolicy())
        self.now_ms = 1_000_000
        self.declared: dict[str, frozenset[str]] = {}
        self.listings: dict[str, frozenset[str]] = {}
        self.slots: dict[str, int] = {}
        self.announced: dict[str, bool] = {}
        self.pictures: list[tuple[EndpointView, bytes]] = []

    def heard(self, events: list[Event]) -> None:
        for event in events:
            assert all(value >= 0 for value in event.measurements.values()), event
            name = str(event.metadata["endpoint"])
            if event.name in ("endpoint.up", "endpoint.down"):
                usable = event.name == "endpoint.up"
                assert self.announced.get(name) is not usable, f"{event.name} of {name} was announced twice"
                self.announced[name] = usable

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(name=NAMES, models=MODELS, slots=st.integers(1, 9))
    def added(self, name: str, models: frozenset[str], slots: int) -> None:
        spec = msgspec.structs.replace(local(name, slots=slots), models=tuple(sorted(models)))
        self.heard(self.books.add(spec, self.now_ms))
        self.declared[name], self.slots[name] = models, slots
        self.listings.setdefault(name, frozenset())

    @rule(name=NAMES)
    def removed(self, name: str) -> None:
        self.heard(self.books.remove(name, self.now_ms))
        for book in (self.declared, self.listings, self.announced, self.slots):
            book.pop(name, None)

    @rule(name=NAMES, models=MODELS, residents=RESIDENTS)
    def listed(self, name: str, models: frozenset[str], residents: frozenset[str] | None) -> None:
        loaded = None if residents is None else tuple(Resident(model=model) for model in sorted(residents))
        spelled = tuple(f"{model}:latest" for model in sorted(models))
        probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=self.now_ms, models=spelled, residents=loaded)
        self.heard(self.books.probed(probe, self.now_ms))
        if name in self.listings:
            self.listings[name] = models

    @rule(name=NAMES, status=st.sampled_from([one for one in ProbeStatus if one is not ProbeStatus.AVAILABLE]))
    def refused(self, name: str, status: ProbeStatus) -> None:
        probe = Probe(endpoint=name, status=status, at_ms=self.now_ms, message="no", retry_after_ms=4_000)
        self.heard(self.books.probed(probe, self.now_ms))

    @rule(name=NAMES, what=st.sampled_from(["ok", "failed", "block", "key", "reset", "resident"]))
    def called(self, name: str, what: str) -> None:
        match what:
            case "ok":
                self.heard(self.books.call_ok(name, self.now_ms))
            case "failed":
                self.heard(self.books.call_failed(name, self.now_ms, "500"))
            case "block":
                self.heard(self.books.block(name, self.now_ms + 3_000, self.now_ms, "429"))
            case "key":
                self.heard(self.books.key_refused(name, self.now_ms, "401"))
            case "reset":
                self.heard(self.books.reset(name, self.now_ms))
            case _:
                self.books.mark_resident(name, "m")

    @rule(duration_ms=st.sampled_from([1, 2_999, 30_000, 240_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.now_ms += duration_ms
        for name in sorted(self.books.views):
            self.heard(self.books.advance(name, self.now_ms))

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def the_index_is_what_the_endpoints_offer(self) -> None:
        offered = {name: self._offered(models, self.listings[name]) for name, models in self.declared.items()}
        naive: dict[str, tuple[str, ...]] = {}
        for name in sorted(offered):
            for model in offered[name]:
                naive[model] = (*naive.get(model, ()), name)
        assert {name: view.models for name, view in self.books.views.items()} == offered
        assert self.books.by_model == naive

    def _offered(self, declared: frozenset[str], listed: frozenset[str]) -> frozenset[str]:
        """A local engine must have what is declared; without one of the two words the other holds."""
        return declared & listed if declared and listed else declared or listed

    @invariant()
    def the_last_word_is_true(self) -> None:
        for name, view in self.books.views.items():
            usable = (
                view.health is Health.UP and view.breaker is not BreakerState.OPEN and view.blocked_until_ms is None
            )
            assert self.announced.get(name, False) is usable
            assert (view.unusable_since_ms is None) == usable

    @invariant()
    def slots_stay_within_the_spec(self) -> None:
        for name, view in self.books.views.items():
            assert 1 <= view.slots <= self.slots[name]
            assert view.breaker is not BreakerState.HALF_OPEN or view.slots == 1

    @invariant()
    def time_always_has_something_left_to_do_while_a_call_is_kept_away_for_a_while(self) -> None:
        for name, view in self.books.views.items():
            due_ms = self.books.next_due_ms(name)
            waits = view.breaker is BreakerState.OPEN or view.blocked_until_ms is not None
            assert (due_ms is not None) == waits
            assert due_ms is None or due_ms > self.now_ms

    @invariant()
    def a_view_that_was_given_out_never_changes(self) -> None:
        for view, picture in self.pictures:
            assert msgspec.json.encode(view, order="deterministic") == picture
        known = {id(view) for view, _ in self.pictures}
        for view in self.books.views.values():
            if id(view) not in known:
                self.pictures.append((view, msgspec.json.encode(view, order="deterministic")))


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
